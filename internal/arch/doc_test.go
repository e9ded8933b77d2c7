package arch_test

import (
	"go/ast"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The program in the README is the one that is compiled and run.
func TestReadmeShowsHello(t *testing.T) {
	t.Parallel()
	if program := read(t, "examples/hello/main.go"); !strings.Contains(read(t, "README.md"), "```go\n"+program+"```\n") {
		t.Error("README.md does not show examples/hello/main.go as it is")
	}
}

// What the guide shows is code that is compiled and run.
func TestGuideShowsCode(t *testing.T) {
	t.Parallel()
	plain := func(text string) string { // without indents and comments of whole lines
		var b strings.Builder
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "//") {
				b.WriteString(line + "\n")
			}
		}
		return b.String()
	}
	code := plain(read(t, "examples/guide/guide_test.go")) + plain(read(t, "faenatest/example_test.go"))
	n := 0
	walk(t, func(p string) {
		if !strings.HasPrefix(p, "docs/guide/") || !strings.HasSuffix(p, ".md") {
			return
		}
		_, rest, ok := strings.Cut(read(t, p), "```go\n")
		for ok {
			var block string
			block, rest, _ = strings.Cut(rest, "```")
			n++
			if !strings.Contains(code, plain(block)) {
				t.Errorf("%s shows code that is in neither examples/guide nor faenatest:\n%s", p, block)
			}
			_, rest, ok = strings.Cut(rest, "```go\n")
		}
	})
	if n < 5 {
		t.Errorf("found %d pieces of code, want more: the pages were not understood", n)
	}
}

// Every module that ours require directly has its reason written down.
func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	var adrs strings.Builder
	walk(t, func(p string) {
		if strings.HasPrefix(p, "docs/adr/") && strings.HasSuffix(p, ".md") {
			adrs.WriteString(read(t, p))
		}
	})
	n := 0
	for line := range strings.Lines(read(t, "go.mod")) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "require ")
		name, version, ok := strings.Cut(line, " ")
		if !ok || !strings.HasPrefix(version, "v") || strings.Contains(line, "// indirect") {
			continue
		}
		n++
		if !strings.Contains(adrs.String(), "`"+name+"` "+version) {
			t.Errorf("docs/adr does not name `%s` %s", name, version)
		}
	}
	if n == 0 {
		t.Error("go.mod has no direct dependencies: it was not understood")
	}
}

// Every setting has its default in the guide.
func TestDefaultsAreListed(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/guide/defaults.md")
	n := 0
	for _, s := range code(t) {
		for _, decl := range s.file.Decls {
			for _, name := range settings(s.pkg, decl) {
				n++
				if !strings.Contains(page, "`"+name+"`") {
					t.Errorf("docs/guide/defaults.md does not list %s of %s", name, s.pkg)
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("found %d settings, want more: the code was not understood", n)
	}
}

// settings are the root's functions that make an Option, and the exported fields
// of structs called Options that users open something with.
func settings(pkg string, decl ast.Decl) []string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if pkg != "." || d.Recv != nil || !d.Name.IsExported() || d.Type.Results == nil || len(d.Type.Results.List) != 1 {
			return nil
		}
		if result, ok := d.Type.Results.List[0].Type.(*ast.Ident); ok && result.Name == "Option" {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		var out []string
		for _, spec := range d.Specs {
			typ, ok := spec.(*ast.TypeSpec)
			if !ok || typ.Name.Name != "Options" || strings.HasPrefix(pkg, "internal/") || strings.Count(pkg, "/") > 1 {
				continue
			}
			for _, field := range members(typ) {
				for _, id := range field.Names {
					if id.IsExported() {
						out = append(out, id.Name)
					}
				}
			}
		}
		return out
	}
	return nil
}

// Links between pages lead somewhere.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s"]+)\)`)
	walk(t, func(p string) {
		if !strings.HasSuffix(p, ".md") {
			return
		}
		for _, m := range link.FindAllStringSubmatch(read(t, p), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: link %q: %v", p, m[1], err)
				continue
			}
			if u.Scheme != "" || u.Path == "" {
				continue
			}
			to := path.Join(path.Dir(p), u.Path)
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s links to %s, which is not there", p, m[1])
			}
		}
	})
}
