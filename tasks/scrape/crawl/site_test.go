package crawl_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faena-dev/faena/tasks/scrape/crawl"
)

// site is a web server that counts what it is asked for.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	hits  map[string]int
	times []time.Time
	pages map[string]http.HandlerFunc
}

// newSite serves HTML from a map of path to body. Other paths are 404.
func newSite(t *testing.T, pages map[string]string) *site {
	t.Helper()
	s := &site{hits: make(map[string]int), pages: make(map[string]http.HandlerFunc)}
	for path, body := range pages {
		s.pages[path] = html(body)
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func html(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(body))
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.hits[r.URL.RequestURI()]++
	s.times = append(s.times, time.Now())
	h := s.pages[r.URL.Path]
	if h == nil {
		h = s.pages["*"]
	}
	s.mu.Unlock()
	if h == nil {
		http.NotFound(w, r)
		return
	}
	h(w, r)
}

func (s *site) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits[path]
}

// links is a page with links.
func links(to ...string) string {
	var b strings.Builder
	b.WriteString("<title>page</title>")
	for _, u := range to {
		fmt.Fprintf(&b, "<a href=%q>x</a> ", u)
	}
	return b.String()
}

// outcome is what a crawl handed out.
type outcome struct {
	pages map[string]crawl.Page // by address less the site's
	order []string
	sum   crawl.Summary
	err   error
}

func (s *site) crawl(t *testing.T, o crawl.Options) outcome {
	t.Helper()
	if o.Start == nil {
		o.Start = []string{s.URL}
	}
	out := outcome{pages: make(map[string]crawl.Page)}
	out.sum, out.err = crawl.Run(t.Context(), o, nil, crawl.Hooks{Page: func(p crawl.Page) {
		path := strings.TrimPrefix(p.URL, s.URL)
		if _, dup := out.pages[path]; dup {
			t.Errorf("two records of %s", path)
		}
		out.pages[path] = p
		out.order = append(out.order, path)
	}})
	return out
}

func (o outcome) paths() []string {
	return slices.Sorted(slices.Values(o.order))
}
