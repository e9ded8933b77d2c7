package arch_test

import (
	"go/ast"
	"testing"
)

const (
	maxFile = 600 // lines
	maxFunc = 80  // lines of its body that are not comments
)

func TestFileLength(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.lines > maxFile {
			t.Errorf("%s has %d lines, over %d: split it", s.path(), s.lines, maxFile)
		}
	}
}

// The linter counts statements too, but sees only what this system builds.
func TestFunctionLength(t *testing.T) {
	t.Parallel()
	for _, s := range code(t) {
		for _, decl := range s.file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if n := bodyLines(s, fn.Body); n > maxFunc {
				t.Errorf("%s: %s has %d lines, over %d: split it", s.fset.Position(fn.Pos()), fn.Name.Name, n, maxFunc)
			}
		}
	}
}

// bodyLines counts the lines between the braces without those that only comment.
func bodyLines(s source, body *ast.BlockStmt) int {
	line := func(n ast.Node, end bool) int {
		if end {
			return s.fset.Position(n.End()).Line
		}
		return s.fset.Position(n.Pos()).Line
	}
	n := line(body, true) - line(body, false) - 1
	last := 0 // line of the last piece of code seen so far, to spare trailing comments
	for _, group := range s.file.Comments {
		if group.Pos() < body.Pos() || group.End() > body.End() {
			continue
		}
		first := line(group, false)
		ast.Inspect(body, func(node ast.Node) bool {
			if node != nil && node.End() <= group.Pos() {
				last = max(last, line(node, true))
			}
			return true
		})
		if first > last && first > line(body, false) {
			n -= line(group, true) - first + 1
		}
	}
	return n
}
