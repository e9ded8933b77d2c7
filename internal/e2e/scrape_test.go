//go:build e2e && linux

package e2e_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree serves a directory and notes which pages each user agent got.
type tree struct {
	*httptest.Server
	mu    sync.Mutex
	pages map[string]map[string]int // paths with answers of 200 and HTML, by agent
}

func newTree(t *testing.T, dir string) *tree {
	t.Helper()
	s := &tree{pages: make(map[string]map[string]int)}
	files := http.FileServer(http.Dir(dir))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &noted{ResponseWriter: w, status: http.StatusOK}
		files.ServeHTTP(n, r)
		if n.status != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			return
		}
		agent, _, _ := strings.Cut(r.UserAgent(), "/")
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pages[agent] == nil {
			s.pages[agent] = make(map[string]int)
		}
		s.pages[agent][r.URL.Path]++
	}))
	t.Cleanup(s.Close)
	return s
}

// noted remembers the status of an answer.
type noted struct {
	http.ResponseWriter
	status int
}

func (n *noted) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

func (s *tree) got(agent string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.pages[agent]))
}

// TestCrawlOfDocumentation crawls real documentation and compares the pages with
// those that wget finds.
func TestCrawlOfDocumentation(t *testing.T) {
	t.Parallel()
	wget, err := exec.LookPath("wget")
	if err != nil {
		t.Skip("no wget here: make deps installs it")
	}
	faena, err := filepath.Abs("../../bin/faena")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(faena); err != nil {
		t.Fatalf("make build first: %v", err)
	}
	for pkg, dir := range map[string]string{
		"python3.11-doc":    "/usr/share/doc/python3.11/html",
		"postgresql-doc-15": "/usr/share/doc/postgresql-doc-15/html",
	} {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(dir); err != nil {
				t.Skip("not installed: make deps installs it")
			}
			s := newTree(t, dir)
			cmd := exec.CommandContext(t.Context(), wget, "-nv", "-r", "-l", "inf", "-e", "robots=off", "-nd", "--delete-after", s.URL+"/")
			cmd.Dir = t.TempDir()
			if out, err := cmd.CombinedOutput(); err != nil && len(s.got("Wget")) == 0 { // a broken link is an error of wget's, too
				t.Fatalf("wget: %v\n%s", err, out)
			}
			want := s.got("Wget")
			if len(want) < 500 {
				t.Fatalf("wget found %d pages, want 500 or more", len(want))
			}

			out := filepath.Join(t.TempDir(), "pages.jsonl")
			cmd = exec.CommandContext(t.Context(), faena, "scrape", s.URL+"/", "-o", out)
			cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+t.TempDir())
			var said bytes.Buffer
			cmd.Stderr = &said
			if err := cmd.Run(); err != nil {
				t.Fatalf("faena scrape: %v\n%s", err, said.Bytes())
			}
			got := lines(t, s.URL, out)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("pages (-wget +faena):\n%s", d)
			}
			if d := cmp.Diff(want, s.got("faena")); d != "" {
				t.Errorf("pages asked for (-wget +faena):\n%s", d)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for path, n := range s.pages["faena"] {
				if n != 1 {
					t.Errorf("%s was asked for %d times, want once", path, n)
				}
			}
			t.Logf("%d pages; %s", len(got), bytes.TrimSpace(said.Bytes()))
		})
	}
}

// lines are the paths of the HTML pages that a crawl's output has.
func lines(t *testing.T, site, name string) []string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for line := range bytes.Lines(b) {
		var p struct {
			URL         string
			Status      int
			ContentType string `json:"content_type"`
		}
		if err := json.Unmarshal(line, &p); err != nil {
			t.Fatal(err)
		}
		if p.Status == http.StatusOK && strings.HasPrefix(p.ContentType, "text/html") {
			paths = append(paths, strings.TrimPrefix(p.URL, site))
		}
	}
	slices.Sort(paths)
	return paths
}
