package lockstep

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// numeric names the packages whose results are hashed or compared bit for bit.
var numeric = []string{"internal/f32", "internal/seed", "internal/merkle", "autograd", "optim", "model"}

// deterministic names packages whose decisions must not depend on map order
// either, though they may read a clock at their edges.
var deterministic = append([]string{"internal/signed", "internal/spec", "reduce", "reduce/commit", "stream/corpus", "stream/tokenizer"}, numeric...)

// mathAllowed are the functions of package math that give the same bits
// everywhere: exact operations and bit views.
var mathAllowed = []string{
	"Float32bits", "Float32frombits", "Float64bits", "Float64frombits", "Sqrt", "Abs", "Inf", "IsNaN", "IsInf", "Signbit", "Copysign", "NaN",
	"MaxFloat32", "MaxInt", "MaxInt32", "MaxInt64", "MaxUint32", "MaxUint64", "SmallestNonzeroFloat32",
}

func TestNumericHygiene(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if slices.Contains(deterministic, s.dir) {
			for _, p := range orderProblems(s) {
				t.Error(p)
			}
		}
		if slices.Contains(numeric, s.dir) {
			for _, p := range numericProblems(s) {
				t.Error(p)
			}
		}
	}
}

// orderProblems finds what may differ between two runs: clocks, environments,
// random sources, map ranges, unstable sorts (N25).
func orderProblems(s source) (problems []string) {
	banned := map[string]string{
		"time": "Now Since After Tick NewTimer NewTicker Sleep", "os": "Getenv LookupEnv Environ",
		"math/rand": "*", "math/rand/v2": "*", "crypto/rand": "*",
		"sort": "Slice Sort", // unstable: equal elements may change places
	}
	imported := importNames(s.ast)
	maps := mapIdents(s.ast)
	ast.Inspect(s.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			if names, ok := banned[imported[x.Name]]; ok && (names == "*" || slices.Contains(strings.Fields(names), n.Sel.Name)) {
				problems = append(problems, s.at(n)+": "+x.Name+"."+n.Sel.Name+" in code whose results are compared (N25)")
			}
		case *ast.RangeStmt:
			if name := lastName(n.X); maps[name] {
				problems = append(problems, s.at(n)+": range over the map "+name+" (N25)")
			}
		}
		return true
	})
	return problems
}

// lastName returns x of the expressions x and y.x.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func importNames(f *ast.File) map[string]string {
	names := map[string]string{}
	for _, imp := range f.Imports {
		path, _ := strconv.Unquote(imp.Path.Value)
		name := filepath.Base(path)
		if name == "v2" {
			name = filepath.Base(filepath.Dir(path))
		}
		if imp.Name != nil {
			name = imp.Name.Name
		}
		names[name] = path
	}
	return names
}

// numericProblems finds functions of math that differ between
// architectures, and float products that a compiler may fuse (N4). It needs no
// types: a name is taken for a float if the function declares it so, or the file
// a field or variable of that name.
func numericProblems(s source) (problems []string) {
	imported := importNames(s.ast)
	ast.Inspect(s.ast, func(n ast.Node) bool {
		if n, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := n.X.(*ast.Ident); ok && imported[x.Name] == "math" && !slices.Contains(mathAllowed, n.Sel.Name) {
				problems = append(problems, s.at(n)+": math."+n.Sel.Name+" is not on the allow-list (N2)")
			}
		}
		return true
	})
	shared := map[string]bool{}
	for _, d := range s.ast.Decls {
		if _, ok := d.(*ast.GenDecl); ok {
			markFloats(shared, d)
		}
	}
	for _, d := range s.ast.Decls {
		f := fusion{floats: maps.Clone(shared), products: map[string]bool{}}
		markFloats(f.floats, d)
		f.collect(d)
		for _, n := range f.sums(d) {
			problems = append(problems, s.at(n)+": a float product feeds + or -, or a caller that may add; write float32(x*y) or FMA (N4)")
		}
	}
	return problems
}

// fusion looks for sums of products in one declaration. A compiler may fuse
// across statements, so what a product was assigned to counts as the product.
type fusion struct {
	floats   map[string]bool // names
	products map[string]bool // variables, fields and elements, as they are written
}

// collect notes what the declaration assigns products to.
func (f fusion) collect(d ast.Decl) {
	assign := func(to, from ast.Expr) {
		if f.isProduct(from) {
			f.products[types.ExprString(to)] = true
		}
	}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, rhs := range n.Rhs {
				assign(n.Lhs[i], rhs)
			}
			if n.Tok == token.MUL_ASSIGN && (isFloat(n.Lhs[0], f.floats) || isFloat(n.Rhs[0], f.floats)) {
				f.products[types.ExprString(n.Lhs[0])] = true
			}
		case *ast.ValueSpec:
			for i, value := range n.Values {
				assign(n.Names[i], value)
			}
		}
		return true
	})
}

// sums returns the additions and subtractions of products, and the products that
// are returned: an inlined call may be part of a sum.
func (f fusion) sums(d ast.Decl) (found []ast.Node) {
	plain := fusion{floats: f.floats}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ReturnStmt:
			for _, r := range n.Results {
				if plain.isProduct(r) {
					found = append(found, r)
				}
			}
		case *ast.BinaryExpr:
			if (n.Op == token.ADD || n.Op == token.SUB) && (f.isProduct(n.X) || f.isProduct(n.Y)) {
				found = append(found, n)
			}
		case *ast.AssignStmt:
			if (n.Tok == token.ADD_ASSIGN || n.Tok == token.SUB_ASSIGN) && (f.isProduct(n.Lhs[0]) || f.isProduct(n.Rhs[0])) {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

// isProduct reports whether e is x*y with a float operand, or was assigned one;
// a sign and parentheses do not matter.
func (f fusion) isProduct(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return f.isProduct(e.X)
	case *ast.UnaryExpr:
		return f.isProduct(e.X)
	case *ast.BinaryExpr:
		return e.Op == token.MUL && (isFloat(e.X, f.floats) || isFloat(e.Y, f.floats))
	}
	return f.products[types.ExprString(e)]
}

func isFloat(e ast.Expr, floats map[string]bool) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return floats[e.Name]
	case *ast.BasicLit:
		return e.Kind == token.FLOAT
	case *ast.ParenExpr:
		return isFloat(e.X, floats)
	case *ast.UnaryExpr:
		return isFloat(e.X, floats)
	case *ast.BinaryExpr:
		return isFloat(e.X, floats) || isFloat(e.Y, floats)
	case *ast.IndexExpr:
		return isFloat(e.X, floats)
	case *ast.SelectorExpr:
		return floats[e.Sel.Name]
	case *ast.CallExpr:
		if id, ok := e.Fun.(*ast.Ident); ok {
			return id.Name == "float32" || id.Name == "float64"
		}
	}
	return false
}

// markFloats adds the names that the declaration gives a float type, or assigns
// a float: parameters, fields, variables.
func markFloats(names map[string]bool, d ast.Decl) {
	mark := func(ids []*ast.Ident, typ ast.Expr) {
		if isFloatType(typ) {
			for _, id := range ids {
				names[id.Name] = true
			}
		}
	}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			mark(n.Names, n.Type)
		case *ast.ValueSpec:
			mark(n.Names, n.Type)
		case *ast.AssignStmt:
			for i, rhs := range n.Rhs {
				if id, ok := lhsIdent(n, i); ok && isFloat(rhs, names) {
					names[id] = true
				}
			}
		case *ast.RangeStmt:
			if id, ok := n.Value.(*ast.Ident); ok && isFloat(n.X, names) {
				names[id.Name] = true
			}
		}
		return true
	})
}

func lhsIdent(n *ast.AssignStmt, i int) (string, bool) {
	if i >= len(n.Lhs) {
		return "", false
	}
	id, ok := n.Lhs[i].(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, true
}

func isFloatType(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "float32" || e.Name == "float64"
	case *ast.ArrayType:
		return isFloatType(e.Elt)
	case *ast.StarExpr:
		return isFloatType(e.X)
	}
	return false
}

func mapIdents(f *ast.File) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			if _, ok := n.Type.(*ast.MapType); ok {
				for _, id := range n.Names {
					names[id.Name] = true
				}
			}
		case *ast.ValueSpec:
			if _, ok := n.Type.(*ast.MapType); ok {
				for _, id := range n.Names {
					names[id.Name] = true
				}
			}
		case *ast.AssignStmt:
			for i, rhs := range n.Rhs {
				if c, ok := rhs.(*ast.CompositeLit); ok {
					if _, ok := c.Type.(*ast.MapType); ok {
						if id, ok := lhsIdent(n, i); ok {
							names[id] = true
						}
					}
				}
				if c, ok := rhs.(*ast.CallExpr); ok && len(c.Args) > 0 {
					if _, ok := c.Args[0].(*ast.MapType); ok {
						if id, ok := lhsIdent(n, i); ok {
							names[id] = true
						}
					}
				}
			}
		}
		return true
	})
	return names
}

// TestTidyCatches feeds the checkers code that breaks each rule.
func TestTidyCatches(t *testing.T) {
	tests := []struct{ name, dir, code string }{
		{"arrow", "model", `import _ "lockstep/stream"`},
		{"third", "model", `import _ "github.com/spf13/viper"`},
		{"fusion", "model", `func f(x, y, z float32) float32 { return x*y + z }`},
		{"fusion through :=", "model", `func f(x []float32) float32 { s := x[0]; for _, v := range x { s += v * v }; return s }`},
		{"fusion in parentheses", "model", `func f(x, y, z float64) float64 { return z - (x*y) }`},
		{"fusion across statements", "model", `func f(x, y, z float32) float32 { p := x * y; s := p + z; return s }`},
		{"fusion through var", "model", `func f(x, y, z float32) float32 { var p = x * y; return z - p }`},
		{"fusion through two names", "model", `func f(x, y, z float32) float32 { p := x * y; q := p; return z - q }`},
		{"fusion through *=", "model", `func f(x, y, z float32) float32 { x *= y; return x + z }`},
		{"fusion through +=", "model", `func f(x, y, z float32) float32 { p := x * y; p += z; return p }`},
		{"fusion through an element", "model", `func f(p []float32, x, z float32) float32 { p[0] = x * x; return p[0] + z }`},
		{"fusion after inlining", "model", `func f(x float32) float32 { return x * x }`},
		{"fusion with a sign", "model", `func f(x, y, z float32) float32 { return -(x * y) + z }`},
		{"exp", "model", `import "math"; func f(x float64) float64 { return math.Exp(x) }`},
		{"clock", "model", `import "time"; func f() time.Time { return time.Now() }`},
		{"environment", "reduce/commit", `import "os"; func f() string { return os.Getenv("X") }`},
		{"rand", "model", `import "math/rand/v2"; func f() int { return rand.Int() }`},
		{"map range", "model", `func f(m map[int]int) { for range m {} }`},
		{"map field range", "reduce", `type t struct { m map[int]int }; func f(x t) { for range x.m {} }`},
		{"unstable sort", "reduce", `import "sort"; func f(x []int) { sort.Slice(x, nil) }`},
	}
	for _, tt := range tests {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "x.go", "package x\n"+tt.code, 0)
		if err != nil {
			t.Fatal(err)
		}
		s := source{"x.go", tt.dir, f, fset, false}
		if len(importProblems(s))+len(orderProblems(s))+len(numericProblems(s)) == 0 {
			t.Errorf("%s: not caught", tt.name)
		}
	}
	clean := `func f(x, y, z float32, i, j int) float32 { p := float32(x*y); k := i*j; return p + z + x[i*4+k+j] }
		func g(x, y float32) float32 { p := x * y; return p }
		func h(p, z float32) float32 { return p + z }`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "x.go", "package x\n"+clean, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p := numericProblems(source{"x.go", "model", f, fset, false}); len(p) > 0 {
		t.Errorf("clean code is refused: %v", p)
	}
}
