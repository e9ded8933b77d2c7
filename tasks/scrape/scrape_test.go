package scrape_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/tasks/scrape"
	"github.com/faena-dev/faena/tasks/scrape/crawl"
)

// open gives a node with slots on an engine in dir.
func open(t *testing.T, dir string, slots int) *faena.Node {
	t.Helper()
	eng, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		t.Fatalf("open the engine: %v", err)
	}
	node, err := faena.Open(t.Context(), eng, faena.Options{Slots: slots, Grace: -1, MaxDeaths: 100})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(node.Close(), eng.Close()); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return node
}

func handle(t *testing.T, node *faena.Node) {
	t.Helper()
	if err := node.Handle(scrape.Handlers(scrape.Options{})...); err != nil {
		t.Fatalf("Handle = %v", err)
	}
}

// worker is a node that crawls, in a directory of its own.
func worker(t *testing.T, slots int) *faena.Node {
	t.Helper()
	node := open(t, filepath.Join(t.TempDir(), "data"), slots)
	handle(t, node)
	return node
}

// site is a web server that counts what it is asked for.
type site struct {
	*httptest.Server
	mu   sync.Mutex
	hits map[string]int
	all  int
	told map[int]chan struct{} // closed at that number of requests
	page http.HandlerFunc
}

func newSite(t *testing.T, page http.HandlerFunc) *site {
	t.Helper()
	s := &site{hits: make(map[string]int), told: make(map[int]chan struct{}), page: page}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/robots.txt" {
		s.mu.Lock()
		s.hits[s.URL+r.URL.RequestURI()]++
		s.all++
		if c := s.told[s.all]; c != nil {
			close(c)
		}
		s.mu.Unlock()
	}
	s.page(w, r)
}

// count is how often each address was asked for, so far.
func (s *site) count() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	hits := make(map[string]int, len(s.hits))
	maps.Copy(hits, s.hits)
	return hits
}

// after is closed after so many more requests.
func (s *site) after(n int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{})
	s.told[s.all+n] = c
	return c
}

// links writes a page with links.
func links(w io.Writer, to ...string) {
	var b strings.Builder
	b.WriteString("<title>page</title>")
	for _, u := range to {
		fmt.Fprintf(&b, "<a href=%q>x</a> ", u)
	}
	_, _ = io.WriteString(w, b.String())
}

// web serves n pages, each linked to three others; every seventh redirects, every
// eleventh is broken.
func web(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/robots.txt" {
			return
		}
		var i int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &i); err != nil && r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		switch {
		case i%7 == 3:
			http.Redirect(w, r, fmt.Sprintf("/%d", (i+1)%n), http.StatusFound)
			return
		case i%11 == 5:
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		links(w, fmt.Sprintf("/%d", (2*i+1)%n), fmt.Sprintf("/%d", (3*i+2)%n), fmt.Sprintf("/%d", (i+1)%n), "/0", "/missing")
	}
}

// collect reads the pages of a crawl, by address.
func collect(t *testing.T, node *faena.Node, id faena.ID) (map[string]crawl.Page, []string, error) {
	t.Helper()
	pages := make(map[string]crawl.Page)
	var order []string
	for p, err := range scrape.Pages(t.Context(), node, id) {
		if err != nil {
			return pages, order, err
		}
		if _, dup := pages[p.URL]; dup {
			t.Errorf("two records of %s", p.URL)
		}
		pages[p.URL] = p
		order = append(order, p.URL)
	}
	return pages, order, nil
}

// leaf is what the crawler without runs finds.
func leaf(t *testing.T, in scrape.Input) (map[string]crawl.Page, crawl.Summary) {
	t.Helper()
	pages := make(map[string]crawl.Page)
	sum, err := crawl.Run(t.Context(), in, nil, crawl.Hooks{Page: func(p crawl.Page) { pages[p.URL] = p }})
	if err != nil {
		t.Fatalf("crawl.Run = %v", err)
	}
	return pages, sum
}

// same compares the records of two crawls, but for what depends on timing: which
// page named an address first, and without levels also its depth.
func same(t *testing.T, what string, in scrape.Input, want, got map[string]crawl.Page) {
	t.Helper()
	plain := func(pages map[string]crawl.Page) map[string]crawl.Page {
		out := make(map[string]crawl.Page, len(pages))
		for u, p := range pages {
			p.ElapsedMS, p.Referrer = 0, ""
			if in.Depth <= 0 {
				p.Depth, p.Hops = 0, 0
			}
			out[u] = p
		}
		return out
	}
	if d := cmp.Diff(plain(want), plain(got)); d != "" {
		t.Errorf("%s: pages (-want +got):\n%s", what, d)
	}
}

func run(t *testing.T, node *faena.Node, in scrape.Input) *faena.Future[scrape.Summary] {
	t.Helper()
	fut, err := scrape.Crawl.Go(t.Context(), node, in)
	if err != nil {
		t.Fatalf("Go = %v", err)
	}
	return fut
}

// A crawl by runs finds what the crawler finds by itself, and asks for it once.
func TestSameAsTheLeaf(t *testing.T) {
	t.Parallel()
	s := newSite(t, web(400))
	for _, depth := range []int{0, 3, -1} {
		in := scrape.Input{Start: []string{s.URL}, Depth: depth}
		want, wantSum := leaf(t, in)
		before := s.count()
		node := worker(t, 1) // the crawl and its children share one slot
		fut := run(t, node, in)
		got, order, err := collect(t, node, fut.ID())
		if err != nil {
			t.Fatalf("depth %d: Pages = %v", depth, err)
		}
		same(t, fmt.Sprintf("depth %d", depth), in, want, got)
		sum, err := fut.Get(t.Context())
		if err != nil {
			t.Fatalf("depth %d: Get = %v", depth, err)
		}
		if sum.Batches < 1 || sum.Batches > len(want) {
			t.Errorf("depth %d: %d batches of %d pages", depth, sum.Batches, len(want))
		}
		sum.ElapsedMS, wantSum.ElapsedMS = 0, 0
		if d := cmp.Diff(wantSum, sum.Summary); d != "" {
			t.Errorf("depth %d: Summary (-want +got):\n%s", depth, d)
		}
		for u, n := range s.count() {
			if n -= before[u]; n != 1 && want[u].URL != "" {
				t.Errorf("depth %d: %s was asked for %d times, want once", depth, u, n)
			}
		}
		_, again, err := collect(t, node, fut.ID())
		if err != nil {
			t.Fatalf("depth %d: Pages once more = %v", depth, err)
		}
		if d := cmp.Diff(order, again); d != "" {
			t.Errorf("depth %d: the order of pages, read while it went on and again (-first +second):\n%s", depth, d)
		}
	}
}

func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	b, c := newSite(t, web(100)), newSite(t, web(60))
	a := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		links(w, b.URL+"/1", c.URL+"/1", "http://other.invalid/")
	})
	for name, in := range map[string]scrape.Input{
		"start":     {Start: []string{a.URL, b.URL}},
		"hosts":     {Start: []string{a.URL}, Hosts: []string{strings.TrimPrefix(b.URL, "http://")}, AllowPrivate: true},
		"all hosts": {Start: []string{a.URL}, AllHosts: true, Retries: -1},
	} {
		want, _ := leaf(t, in)
		node := worker(t, 2)
		got, _, err := collect(t, node, run(t, node, in).ID())
		if err != nil {
			t.Fatalf("%s: Pages = %v", name, err)
		}
		same(t, name, in, want, got)
		if p := got[b.URL+"/1"]; name == "all hosts" && p.Skipped != crawl.SkippedPrivate {
			t.Errorf("a private address that was not asked for: %+v, want it skipped", p)
		}
	}
}

// What is wrong with the start is the run's error, once and for all.
func TestHopelessStarts(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/robots.txt":
			_, _ = io.WriteString(w, "User-agent: *\nDisallow: /private/")
		case "/away":
			http.Redirect(w, r, "http://other.invalid/", http.StatusFound)
		}
	})
	node := worker(t, 2)
	for start, says := range map[string]string{
		"":                   "no start address",
		"example.com":        "give it whole",
		"ftp://example.com/": "http",
		closed.URL:           "check the address",
		s.URL + "/private/x": "ignore robots.txt",
		s.URL + "/away":      "start at http://other.invalid/",
	} {
		in := scrape.Input{Retries: -1}
		if start != "" {
			in.Start = []string{start}
		}
		fut := run(t, node, in)
		pages, _, err := collect(t, node, fut.ID())
		if faena.CodeOf(err) != faena.CodePermanent || !strings.Contains(err.Error(), says) {
			t.Errorf("start %q: err = %v, want a permanent one with %q", start, err, says)
		}
		if p := pages[start+"/"]; start == closed.URL && (p.Error == "" || p.Status != 0) {
			t.Errorf("the record of an unreachable start = %+v, want its error", p)
		}
	}
}

// A page that cannot be fetched, and one nobody should have linked, are records.
func TestErrorsOfPagesEndNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			links(w, "/cut", "/gone", "/fine")
		case "/cut":
			w.Header().Set("Content-Length", "9999")
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "short")
		case "/gone", "/robots.txt":
			http.NotFound(w, r)
		}
	})
	node := worker(t, 1)
	fut := run(t, node, scrape.Input{Start: []string{s.URL}, Retries: -1})
	pages, _, err := collect(t, node, fut.ID())
	if err != nil {
		t.Fatalf("Pages = %v", err)
	}
	if pages[s.URL+"/cut"].Error == "" || pages[s.URL+"/gone"].Status != 404 || pages[s.URL+"/fine"].Status != 200 || len(pages) != 4 {
		t.Errorf("records = %+v, want an error, 404, 200 and the start", pages)
	}
}

// Batches are kept as long as their crawl, and not shorter than it may need them.
func TestBatchesAreKeptAsTheirCrawl(t *testing.T) {
	t.Parallel()
	s := newSite(t, web(20))
	type keep struct{ succeeded, failed time.Duration }
	got := make(chan keep, 100)
	node := worker(t, 1)
	node.Use(func(next faena.Next) faena.Next {
		return func(ctx context.Context, c *faena.Call) (json.RawMessage, error) {
			if c.Task() == scrape.Fetch.Name() {
				var k keep
				k.succeeded, k.failed = c.Keep()
				got <- k
			}
			return next(ctx, c)
		}
	})
	for asked, want := range map[keep]keep{
		{9 * 24 * time.Hour, 48 * time.Hour}: {9 * 24 * time.Hour, 48 * time.Hour},
		{time.Minute, time.Hour}:             {24 * time.Hour, 24 * time.Hour},
	} {
		in := scrape.Input{Start: []string{s.URL}, MaxPages: 1}
		if _, err := scrape.Crawl.Run(t.Context(), node, in, faena.Keep(asked.succeeded, asked.failed)); err != nil {
			t.Fatalf("Run = %v", err)
		}
		if k := <-got; k != want {
			t.Errorf("a batch of a crawl kept %v is kept %v, want %v", asked, k, want)
		}
	}
}

func TestCancelEndsItSoon(t *testing.T) {
	t.Parallel()
	hung := make(chan struct{})
	var once sync.Once
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/robots.txt":
		case "/":
			w.Header().Set("Content-Type", "text/html")
			links(w, "/1", "/2", "/3")
		default:
			once.Do(func() { close(hung) })
			<-r.Context().Done()
		}
	})
	node := worker(t, 2)
	fut := run(t, node, scrape.Input{Start: []string{s.URL}})
	<-hung
	if err := fut.Cancel(t.Context()); err != nil {
		t.Fatalf("Cancel = %v", err)
	}
	pages, _, err := collect(t, node, fut.ID())
	if faena.CodeOf(err) != faena.CodeCancelled {
		t.Errorf("Pages = %v, want cancelled", err)
	}
	if _, ok := pages[s.URL+"/"]; !ok || len(pages) != 1 {
		t.Errorf("%d pages, want the one that was fetched", len(pages))
	}
	for in, err := range node.List(t.Context(), faena.Query{Task: scrape.Fetch.Name(), Tags: []faena.Tag{{Key: "crawl", Value: fut.ID().String()}}}) {
		if err != nil {
			t.Fatalf("List = %v", err)
		}
		if !in.State.Terminal() {
			t.Errorf("batch %s is %s, want it ended", in.ID, in.State)
		}
	}
}

// The delay holds from one batch to the next.
func TestDelayHoldsBetweenBatches(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var starts []int64
	s := newSite(t, nil)
	page := web(30)
	s.page = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/robots.txt" {
			mu.Lock()
			starts = append(starts, time.Now().UnixNano())
			mu.Unlock()
		}
		page(w, r)
	}
	const delay = 150 // ms
	node := worker(t, 2)
	fut := run(t, node, scrape.Input{Start: []string{s.URL}, Delay: crawl.Duration(delay * 1e6), MaxPages: 8, Concurrency: 4})
	sum, err := fut.Get(t.Context())
	if err != nil || sum.Pages != 8 || sum.Batches < 2 || !sum.Limited {
		t.Fatalf("Get = %+v, %v, want 8 pages in several batches", sum, err)
	}
	mu.Lock()
	defer mu.Unlock()
	for i, at := range starts {
		// Arrivals are measured, and that of the first may be late.
		if got, want := (at-starts[0])/1e6, int64(i*delay-delay/2); got < want {
			t.Errorf("request %d came %d ms after the first, want at least %d", i, got, want)
		}
	}
}

// Inputs that could not go well were stored, and failed.
func TestSubmitRefuses(t *testing.T) {
	t.Parallel()
	node := worker(t, 1)
	for in, want := range map[string]string{
		`{}`:                                 "no start address",
		`null`:                               "no start address",
		`{"start":[]}`:                       "no start address",
		`{"start":["notaurl"]}`:              "give it whole",
		`{"start":"http://a/"}`:              `field "start": want a list, got text`,
		`[]`:                                 `want an object such as {"start": ["…"]}, got a list`,
		`{"start":["http://a/"],"total":-1}`: "total is negative",
		`{"start":["http://a/"],"delay":300000000}`:   `field "delay": want text such as "1m30s", got 300000000`,
		`{"start":["http://a/"],"timeout":"3"}`:       `field "timeout": want text such as "1m30s", got "3"`,
		`{"start":["http://a/"],"delay":"99999999h"}`: `field "delay": want text such as "1m30s", got "99999999h"`,
	} {
		_, err := node.Submit(t.Context(), "scrape", json.RawMessage(in))
		if faena.CodeOf(err) != faena.CodeInput || !strings.Contains(err.Error(), want) {
			t.Errorf("Submit(%s) = %v, want code input and %q", in, err, want)
		}
	}
}

// Servers were told "faena/dev" by every build.
func TestUserAgentOfTheProgram(t *testing.T) {
	t.Parallel()
	agents := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { agents <- r.UserAgent() }))
	t.Cleanup(s.Close)
	node := open(t, t.TempDir(), 2)
	if err := node.Handle(scrape.Handlers(scrape.Options{UserAgent: "faena/v9"})...); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	for given, want := range map[string]string{"": "faena/v9", "mine/1": "mine/1"} {
		if _, err := scrape.Crawl.Run(t.Context(), node, scrape.Input{Start: []string{s.URL}, UserAgent: given, IgnoreRobots: true}); err != nil {
			t.Fatalf("Run = %v", err)
		}
		if got := <-agents; got != want {
			t.Errorf("user agent %q was sent as %q, want %q", given, got, want)
		}
	}
}
