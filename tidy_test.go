// Package lockstep holds the rules of the house as ordinary tests: who may
// import whom, what numeric code must not do, and that every rule of
// NUMERICS.md names a test that exists.
package lockstep

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows lists what each room may import from this module. A room that is not
// in the table may import nothing. "internal/" stands for all of internal.
var arrows = map[string][]string{
	"cmd/lockstep":     {"swarm", "swarm/control", "validate", "validate/ledger", "reduce", "reduce/commit", "reduce/transport", "stream", "stream/tokenizer", "hub", "hub/client", "hub/safetensors", "hub/server", "observe", "config", "model", "optim", "internal/"},
	"swarm":            {"swarm/control", "validate", "validate/ledger", "reduce", "reduce/commit", "reduce/transport", "stream", "stream/tokenizer", "hub", "hub/safetensors", "model", "optim", "internal/"},
	"swarm/control":    {"reduce", "reduce/commit", "reduce/transport", "internal/"},
	"validate":         {"validate/ledger", "model", "stream", "stream/tokenizer", "reduce/commit", "internal/"},
	"validate/ledger":  {"internal/"},
	"model":            {"autograd", "optim", "internal/"},
	"autograd":         {"internal/"},
	"optim":            {"internal/"},
	"reduce":           {"reduce/commit", "internal/"},
	"reduce/commit":    {"internal/"},
	"reduce/transport": {"reduce", "reduce/commit", "internal/"},
	"stream":           {"stream/tokenizer", "stream/corpus", "stream/parquet", "stream/remote", "stream/store", "internal/"},
	"stream/parquet":   {},
	"stream/remote":    {"internal/"},
	"stream/store":     {"internal/"},
	"stream/tokenizer": {"stream/corpus", "internal/"},
	"stream/corpus":    {"internal/"},
	"hub":              {"hub/safetensors", "hub/internal/strictjson", "internal/"},
	"hub/client":       {"hub", "internal/"},
	"hub/server":       {"hub", "internal/"},
	"hub/safetensors":  {"hub/internal/strictjson", "internal/"},
	"observe":          {"internal/"},
	"config":           {"internal/"},

	"internal/f32":      {"internal/fault"},
	"internal/seed":     {},
	"internal/fault":    {},
	"internal/httpx":    {"internal/fault"},
	"internal/durable":  {"internal/fault"},
	"internal/merkle":   {},
	"internal/signed":   {"internal/fault", "internal/merkle"},
	"internal/spec":     {"internal/fault", "internal/merkle", "internal/signed"},
	"internal/testdata": {},
}

// third lists the only files that may import each third-party module.
var third = map[string][]string{
	"github.com/spf13/cobra":               {"cmd/lockstep/"},
	"github.com/spf13/pflag":               {"cmd/lockstep/", "config/load.go"},
	"github.com/spf13/viper":               {"config/load.go", "config/file.go"},
	"github.com/go-viper/mapstructure/v2":  {"config/load.go"},
	"go.yaml.in/yaml/v3":                   {"config/file.go", "config/save.go"},
	"github.com/fxamacker/cbor/v2":         {"internal/signed/cbor.go"},
	"github.com/pkoukk/tiktoken-go":        {"stream/tokenizer/"},
	"github.com/pkoukk/tiktoken-go-loader": {"stream/tokenizer/"},
	"github.com/parquet-go/parquet-go":     {"stream/parquet/"},
	"github.com/klauspost/compress":        {"stream/parquet/compress.go"},
	"github.com/x448/float16":              {"hub/safetensors/dtype.go"},
	"golang.org/x/sys/cpu":                 {"internal/f32/isa_amd64.go", "internal/f32/features_amd64.go"},
	"golang.org/x/sys/unix":                {"hub/", "swarm/"},
	"golang.org/x/sys/windows":             {"hub/lock_windows.go"},
	"golang.org/x/sync/":                   {"hub/", "stream/", "swarm/", "reduce/", "validate/", "cmd/lockstep/"},
	"golang.org/x/term":                    {"observe/", "cmd/lockstep/"},
	"gonum.org/v1/gonum/":                  {"validate/", "observe/", "cmd/lockstep/"},
}

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

type source struct {
	path, dir string
	ast       *ast.File
	fset      *token.FileSet
	test      bool
}

// sources parses every Go file of the module; folders that start with "_" or
// "." are modules of their own or no source.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (d.Name()[0] == '_' || d.Name()[0] == '.') {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		out = append(out, source{path, filepath.ToSlash(filepath.Dir(path)), f, fset, strings.HasSuffix(path, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s source) at(n ast.Node) string { return s.fset.Position(n.Pos()).String() }

func TestImportArrows(t *testing.T) {
	for _, s := range sources(t) {
		for _, problem := range importProblems(s) {
			t.Error(problem)
		}
	}
}

func importProblems(s source) (problems []string) {
	for _, imp := range s.ast.Imports {
		path, _ := strconv.Unquote(imp.Path.Value)
		if own, ok := strings.CutPrefix(path, "lockstep/"); ok {
			if !s.test && !arrowAllowed(s.dir, own) {
				problems = append(problems, s.at(imp)+": "+s.dir+" must not import "+own)
			}
			continue
		}
		if strings.Contains(path, ".") && !s.test && !thirdAllowed(s.path, path) {
			problems = append(problems, s.at(imp)+": "+path+" is not allowed in this file")
		}
	}
	return problems
}

func arrowAllowed(dir, target string) bool {
	return slices.ContainsFunc(arrows[dir], func(a string) bool {
		return a == target || (a == "internal/" && strings.HasPrefix(target, a) && target != "internal/testdata")
	})
}

func thirdAllowed(file, path string) bool {
	for module, files := range third {
		if path != module && !strings.HasPrefix(path, strings.TrimSuffix(module, "/")+"/") {
			continue
		}
		for _, f := range files {
			if file == f || (strings.HasSuffix(f, "/") && strings.HasPrefix(file, f)) {
				return true
			}
		}
	}
	return false
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
// types: a product under + or - is taken for a float unless it is plainly an
// index expression, a constant, or of integers marked by int(...) and the like.
func numericProblems(s source) (problems []string) {
	imported := importNames(s.ast)
	floats := floatIdents(s.ast)
	ast.Inspect(s.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && imported[x.Name] == "math" && !slices.Contains(mathAllowed, n.Sel.Name) {
				problems = append(problems, s.at(n)+": math."+n.Sel.Name+" is not on the allow-list (N2)")
			}
		case *ast.BinaryExpr:
			if n.Op == token.ADD || n.Op == token.SUB {
				for _, side := range []ast.Expr{n.X, n.Y} {
					if isFloatProduct(side, floats) {
						problems = append(problems, s.at(n)+": a float product feeds + or -; write float32(x*y) or FMA (N4)")
					}
				}
			}
		case *ast.AssignStmt:
			if n.Tok == token.ADD_ASSIGN || n.Tok == token.SUB_ASSIGN {
				if isFloatProduct(n.Rhs[0], floats) {
					problems = append(problems, s.at(n)+": a float product feeds += or -=; write float32(x*y) or FMA (N4)")
				}
			}
		}
		return true
	})
	return problems
}

// isFloatProduct reports whether e is x*y, bare or in parentheses, with a
// float operand.
func isFloatProduct(e ast.Expr, floats map[string]bool) bool {
	for {
		p, ok := e.(*ast.ParenExpr)
		if !ok {
			break
		}
		e = p.X
	}
	b, ok := e.(*ast.BinaryExpr)
	return ok && b.Op == token.MUL && (isFloat(b.X, floats) || isFloat(b.Y, floats))
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

// floatIdents collects the names declared with a float type, or assigned from
// a float conversion, anywhere in the file: parameters, fields, variables.
func floatIdents(f *ast.File) map[string]bool {
	names := map[string]bool{}
	mark := func(ids []*ast.Ident, typ ast.Expr) {
		if isFloatType(typ) {
			for _, id := range ids {
				names[id.Name] = true
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
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
	return names
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
	clean := `func f(x, y, z float32, i, j int) float32 { return float32(x*y) + z + x[i*4+j] }`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "x.go", "package x\n"+clean, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p := numericProblems(source{"x.go", "model", f, fset, false}); len(p) > 0 {
		t.Errorf("clean code is refused: %v", p)
	}
}

// TestRulesNameTests checks that each rule of NUMERICS.md names at least one
// test, and that every named test exists.
func TestRulesNameTests(t *testing.T) {
	text, err := os.ReadFile("NUMERICS.md")
	if err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range s.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && s.test {
				defined[fn.Name.Name] = true
			}
		}
	}
	for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`).FindAllString(string(text), -1) {
		if !defined[name] {
			t.Errorf("NUMERICS.md names %s, which does not exist", name)
		}
	}
	rules := regexp.MustCompile(`(?m)^[-*#| ]*\**N(\d+)\b`).FindAllStringSubmatchIndex(string(text), -1)
	if len(rules) < 27 {
		t.Errorf("NUMERICS.md has %d rules, want N1 to N27", len(rules))
	}
}

// TestDataHasOrigins checks that every file of testdata has a row in its
// README, and every row a file.
func TestDataHasOrigins(t *testing.T) {
	readme, err := os.ReadFile("testdata/README.md")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == filepath.Join("testdata", "README.md") {
			return err
		}
		rel, _ := filepath.Rel("testdata", path)
		rel = filepath.ToSlash(rel)
		if !strings.Contains(string(readme), "`"+rel+"`") && !strings.Contains(string(readme), "`"+filepath.ToSlash(filepath.Dir(rel))+"/*`") {
			t.Errorf("testdata/%s has no row in testdata/README.md", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
