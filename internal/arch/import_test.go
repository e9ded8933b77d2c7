package arch_test

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rule says which of our packages the packages that from matches may import.
type rule struct {
	from string
	to   []string
}

// rules are tried in order, the first match decides. A trailing /... matches a
// package and all below it. A package that nothing matches may import none of
// ours. A rule may name packages that do not exist yet.
var rules = []rule{
	{".", []string{"engine", "internal/..."}},
	{"engine", nil},
	{"engine/natsengine", []string{"engine", "internal/..."}},
	{"engine/embedded", []string{"engine", "engine/natsengine", "internal/..."}},
	{"engine/enginetest", []string{"engine"}},
	{"faenatest", []string{".", "engine/..."}},
	{"tasks/...", []string{".", "tasks/..."}},
	{"otelfaena", []string{"."}},
	{"gateway", []string{".", "web", "internal/..."}},
	{"web", []string{".", "internal/..."}},
	{"cmd/...", []string{"..."}},
	{"examples/...", []string{".", "engine/embedded", "engine/natsengine", "tasks/...", "gateway"}}, // no internals: as a user has it
	{"internal/e2e/...", []string{"..."}},
	{"internal/...", []string{"internal/..."}},
}

// onlyIn says which packages alone may import something heavy or test-only,
// and all below it.
var onlyIn = map[string][]string{
	"github.com/nats-io/nats-server/v2": {"engine/embedded", "faenatest"},
	"github.com/nats-io/nats.go":        {"engine/embedded", "engine/natsengine"},
	"zombiezen.com/go/sqlite":           {"internal/index"},
	"testing":                           {"engine/enginetest", "faenatest", "internal/e2e", "internal/xtest"},
}

// match reports whether the package name fits the pattern.
func match(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	if top, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == top || strings.HasPrefix(name, top+"/")
	}
	return pattern == name
}

// mayImport reports whether our package from may import our package to.
func mayImport(from, to string) bool {
	for _, r := range rules {
		if match(r.from, from) {
			return slices.ContainsFunc(r.to, func(pattern string) bool { return match(pattern, to) })
		}
	}
	return false
}

// ours returns the package that an import path names as "engine", "." for the
// root, and false for somebody else's.
func ours(imp string) (string, bool) {
	if imp != module && !strings.HasPrefix(imp, module+"/") {
		return "", false
	}
	return path.Clean("." + strings.TrimPrefix(imp, module)), true
}

// imports returns the import paths of a file.
func imports(t *testing.T, s source) []string {
	t.Helper()
	var out []string
	for _, spec := range s.file.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, imp)
	}
	return out
}

func TestMayImport(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{".", "engine", true},
		{".", "engine/natsengine", false},
		{".", "internal/retry", true},
		{"engine", "internal/retry", false},
		{"engine/embedded", "engine/natsengine", true},
		{"engine/natsengine", "engine/embedded", false},
		{"engine/enginetest", "internal/xtest", false},
		{"tasks/scrape", ".", true},
		{"tasks/scrape/robots", "tasks/scrape/frontier", true},
		{"tasks/scrape", "engine", false},
		{"examples/hello", "engine/embedded", true},
		{"examples/hello", "internal/retry", false},
		{"internal/retry", ".", false},
		{"internal/e2e", "cmd/faena", true},
		{"web", "gateway", false},
		{"unheard/of", "engine", false},
	} {
		if got := mayImport(c.from, c.to); got != c.want {
			t.Errorf("mayImport(%q, %q) = %t, want %t", c.from, c.to, got, c.want)
		}
	}
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, s := range code(t) {
		for _, imp := range imports(t, s) {
			if to, ok := ours(imp); ok {
				if !mayImport(s.pkg, to) {
					t.Errorf("%s: %s must not import %s", s.path(), s.pkg, to)
				}
				continue
			}
			for heavy, homes := range onlyIn {
				if match(heavy+"/...", imp) && !slices.Contains(homes, s.pkg) {
					t.Errorf("%s: %s may be imported only by %v", s.path(), imp, homes)
				}
			}
		}
	}
}

// nextStandard is the standard library of the next Go version, which it is an
// alias of there.
const nextStandard = "github.com/go-json-experiment/json"

// A user who imports the root alone must not get a server, a driver or a
// telemetry library with it, through no package of ours either.
func TestRootNeedsOnlyStandardLibrary(t *testing.T) {
	t.Parallel()
	graph := map[string]map[string]string{} // package → import → a file that has it
	for _, s := range code(t) {
		if graph[s.pkg] == nil {
			graph[s.pkg] = map[string]string{}
		}
		for _, imp := range imports(t, s) {
			graph[s.pkg][imp] = s.path()
		}
	}
	reached := []string{"."}
	for i := 0; i < len(reached); i++ {
		for _, imp := range slices.Sorted(maps.Keys(graph[reached[i]])) {
			to, mine := ours(imp)
			switch first, _, _ := strings.Cut(imp, "/"); {
			case mine && !slices.Contains(reached, to):
				reached = append(reached, to)
			case imp == nextStandard, strings.HasPrefix(imp, nextStandard+"/"):
			case !mine && strings.Contains(first, "."):
				t.Errorf("%s: the root reaches %s, want only the standard library", graph[reached[i]][imp], imp)
			}
		}
	}
}
