// Package arch_test checks the shape of the code: who may import whom, comments,
// sizes, and that the project names nothing of the machine it was made on. It
// walks the tree itself rather than asking the go command, so that the test cache
// notices new and changed files, and so that every build tag is seen.
package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/faena-dev/faena"
	root   = "../.."
)

// source is one hand-written Go file of the main module.
type source struct {
	pkg, name string // folder as "engine/embedded", "." for the root; file name
	test      bool
	fset      *token.FileSet
	file      *ast.File
	lines     int
}

func (s source) path() string { return filepath.ToSlash(filepath.Join(s.pkg, s.name)) }

// walk calls f for each regular file of the repository, by its path from the
// root, leaving out what git and builds put there.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.Name() == ".git", rel == "bin", rel == "dist": // in a work tree .git is a file
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Type().IsRegular():
			f(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources parses the Go files of the main module: none below another go.mod, a
// hidden folder or testdata, and none that is generated.
func sources(t *testing.T) []source {
	t.Helper()
	var paths, modules []string
	walk(t, func(p string) {
		dir, name := filepath.Split(p)
		if name == "go.mod" && dir != "" {
			modules = append(modules, dir)
		}
		hidden := func(part string) bool { return strings.HasPrefix(part, ".") || part == "testdata" }
		if strings.HasSuffix(name, ".go") && !slices.ContainsFunc(strings.Split(dir, "/"), hidden) {
			paths = append(paths, p)
		}
	})
	var out []source
	for _, p := range paths {
		if slices.ContainsFunc(modules, func(m string) bool { return strings.HasPrefix(p, m) }) {
			continue
		}
		src, err := os.ReadFile(filepath.Join(root, p))
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if ast.IsGenerated(f) {
			continue
		}
		out = append(out, source{
			pkg:   filepath.ToSlash(filepath.Dir(p)),
			name:  filepath.Base(p),
			test:  strings.HasSuffix(p, "_test.go"),
			fset:  fset,
			file:  f,
			lines: fset.File(f.FileStart).LineCount(),
		})
	}
	if len(out) == 0 {
		t.Fatal("found no source files")
	}
	return out
}

// code is sources without the tests.
func code(t *testing.T) []source {
	t.Helper()
	return slices.DeleteFunc(sources(t), func(s source) bool { return s.test })
}
