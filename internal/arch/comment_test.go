package arch_test

import (
	"go/ast"
	"go/token"
	"testing"
)

func TestOnePackageComment(t *testing.T) {
	t.Parallel()
	docs := map[string]int{}
	for _, s := range code(t) {
		n := 0
		if s.file.Doc != nil {
			n = 1
		}
		docs[s.pkg] += n
	}
	for pkg, n := range docs {
		if n != 1 {
			t.Errorf("%s has its package comment in %d files, want 1", pkg, n)
		}
	}
}

// The linter asks the same of declarations; this asks it of fields and of the
// methods of interfaces too, which are as much of a promise.
func TestRootIsDocumented(t *testing.T) {
	t.Parallel()
	for _, s := range code(t) {
		if s.pkg != "." {
			continue
		}
		for _, id := range undocumented(s.file) {
			t.Errorf("%s: %s has no comment", s.fset.Position(id.Pos()), id.Name)
		}
	}
}

// undocumented returns the exported names of a file that no comment explains. A
// group of constants or variables may share the comment above it.
func undocumented(f *ast.File) []*ast.Ident {
	var out []*ast.Ident
	check := func(documented bool, names ...*ast.Ident) {
		for _, id := range names {
			if id.IsExported() && !documented {
				out = append(out, id)
			}
		}
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if exportedReceiver(d) {
				check(d.Doc != nil, d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch sp := spec.(type) {
				case *ast.ValueSpec:
					check(d.Doc != nil || sp.Doc != nil || sp.Comment != nil, sp.Names...)
				case *ast.TypeSpec:
					// Only a declaration of one type may carry its comment above the keyword.
					check(sp.Doc != nil || d.Doc != nil && d.Lparen == token.NoPos, sp.Name)
					for _, field := range members(sp) {
						check(field.Doc != nil || field.Comment != nil, field.Names...)
					}
				}
			}
		}
	}
	return out
}

// exportedReceiver reports whether callers can reach a function: it has no
// receiver, or one of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// members returns the fields or methods that an exported struct or interface
// type declares.
func members(sp *ast.TypeSpec) []*ast.Field {
	if !sp.Name.IsExported() {
		return nil
	}
	switch typ := sp.Type.(type) {
	case *ast.StructType:
		return typ.Fields.List
	case *ast.InterfaceType:
		return typ.Methods.List
	}
	return nil
}
