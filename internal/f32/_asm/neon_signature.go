package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
)

// A neonSignature knows where a function's parameters and results lie on the
// stack.
type neonSignature struct {
	name    string
	text    string // name and signature
	bytes   int    // of parameters and results, to the end of the last
	offsets map[string]int
	sizes   map[string]int
	results []string
}

// sizes on arm64. A slice of three words is entered as its words.
var neonSizes = types.SizesFor("gc", "arm64")

func parseSignature(name, signature string) neonSignature {
	text := name + signature[len("func"):]
	file, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc "+text, 0)
	if err != nil {
		panic(err)
	}
	typ := file.Decls[0].(*ast.FuncDecl).Type
	s := neonSignature{name: name, text: text, offsets: map[string]int{}, sizes: map[string]int{}}
	s.place(typ.Params)
	if typ.Results != nil {
		s.align(8)
		s.results = s.place(typ.Results)
	}
	return s
}

// place lays out the fields of a list and returns their names.
func (s *neonSignature) place(fields *ast.FieldList) (names []string) {
	for _, field := range fields.List {
		fieldNames := []string{"ret"}
		if field.Names != nil {
			fieldNames = nil
			for _, n := range field.Names {
				fieldNames = append(fieldNames, n.Name)
			}
		}
		for _, name := range fieldNames {
			names = append(names, name)
			if array, ok := field.Type.(*ast.ArrayType); ok && array.Len == nil {
				s.add(name+"_base", 8)
				s.add(name+"_len", 8)
				s.add(name+"_cap", 8)
				continue
			}
			s.add(name, sizeOf(field.Type))
		}
	}
	return names
}

func sizeOf(e ast.Expr) int {
	if _, ok := e.(*ast.StarExpr); ok {
		return 8
	}
	typ := types.Universe.Lookup(e.(*ast.Ident).Name).Type()
	return int(neonSizes.Sizeof(typ))
}

func (s *neonSignature) align(size int) { s.bytes = (s.bytes + size - 1) / size * size }

func (s *neonSignature) add(name string, size int) {
	s.align(size)
	s.offsets[name], s.sizes[name] = s.bytes, size
	s.bytes += size
}

func (s *neonSignature) size(name string) int { return s.sizes[name] }

// at returns a parameter as an operand.
func (s *neonSignature) at(name string) string {
	offset, ok := s.offsets[name]
	if !ok {
		panic("asm: " + s.name + " has no parameter " + name)
	}
	return fmt.Sprintf("%s+%d(FP)", name, offset)
}
