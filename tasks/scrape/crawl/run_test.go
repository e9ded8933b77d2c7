package crawl_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/tasks/scrape/crawl"
	"github.com/faena-dev/faena/tasks/scrape/frontier"
)

func TestEachPageOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{
		"/":      links("a", "a#x", "./a", "/b", "/dir/../b", "#top", "/%61", "//"),
		"/a":     links("/", "b", "dir/"),
		"/b":     links("a", "/gone", "mailto:x@example.com"),
		"/dir/":  links("..", "deep", "?q=1"),
		"/dir/x": "never linked",
	})
	s.pages["/dir/deep"] = html(`<base href="/"><title> Deep
		page </title><p>some text</p><a href="a">a</a>`)
	got := s.crawl(t, crawl.Options{})
	if got.err != nil {
		t.Fatal(got.err)
	}
	want := []string{"/", "/a", "/b", "/dir/", "/dir/?q=1", "/dir/deep", "/gone"}
	if d := cmp.Diff(want, got.paths()); d != "" {
		t.Errorf("pages (-want +got):\n%s", d)
	}
	for path, n := range s.hits {
		if n != 1 {
			t.Errorf("%s was asked for %d times, want once", path, n)
		}
	}
	deep := got.pages["/dir/deep"]
	deep.ElapsedMS = 0
	wantDeep := crawl.Page{
		URL: s.URL + "/dir/deep", Status: 200, Depth: 3, Title: "Deep page", LinkCount: 1, Links: []string{s.URL + "/a"},
		TextLength: 11, ContentType: "text/html; charset=utf-8", Bytes: deep.Bytes, Attempts: 1, Referrer: s.URL + "/dir/",
	}
	if d := cmp.Diff(wantDeep, deep); d != "" || deep.Bytes == 0 {
		t.Errorf("record (-want +got):\n%s", d)
	}
	if p := got.pages["/gone"]; p.Status != 404 || p.Error != "" || p.Referrer != s.URL+"/b" {
		t.Errorf("record of a missing page = %+v, want 404 and no error", p)
	}
	if got.sum.Pages != 7 || got.sum.OK != 6 || got.sum.Broken != 1 || got.sum.Pending != 0 {
		t.Errorf("Summary = %+v, want 7 pages, 6 ok, 1 broken", got.sum)
	}
}

func calendar(t *testing.T) *site {
	t.Helper()
	s := newSite(t, nil)
	s.pages["/robots.txt"] = http.NotFound
	s.pages["*"] = func(w http.ResponseWriter, r *http.Request) {
		p := strings.TrimSuffix(r.URL.Path, "/")
		html(links(p+"/1", p+"/2"))(w, r)
	}
	return s
}

func TestEndlessSiteIsBoundedByDepth(t *testing.T) {
	t.Parallel()
	got := calendar(t).crawl(t, crawl.Options{Depth: 5})
	if len(got.pages) != 63 || got.err != nil || got.sum.Limited {
		t.Errorf("%d pages, %v, limited %v, want 63, nil, false", len(got.pages), got.err, got.sum.Limited)
	}
	if got := calendar(t).crawl(t, crawl.Options{Depth: -1}); len(got.pages) != 1 {
		t.Errorf("%d pages with negative depth, want the start", len(got.pages))
	}
}

func TestEndlessSiteIsBoundedByPages(t *testing.T) {
	t.Parallel()
	got := calendar(t).crawl(t, crawl.Options{MaxPages: 100})
	if len(got.pages) != 100 || got.err != nil || !got.sum.Limited {
		t.Errorf("%d pages, %v, limited %v, want 100, nil, true", len(got.pages), got.err, got.sum.Limited)
	}
}

// The short way to /x leads over a page that answers late. Its depth, and so
// whether its links count, must not depend on that.
func TestDepthIsOfTheShortestWay(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{
		"/": links("/fast", "/slow"), "/fast": links("/mid"), "/mid": links("/x"), "/x": links("/end"), "/end": "",
	})
	mid := make(chan struct{})
	s.pages["/mid"] = func(w http.ResponseWriter, r *http.Request) {
		close(mid)
		html(links("/x"))(w, r)
	}
	s.pages["/slow"] = func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-mid:
			t.Error("/mid was asked for before the level above it ended")
		case <-time.After(50 * time.Millisecond): //nolint:forbidigo // only a failure needs the time
		}
		html(links("/x"))(w, r)
	}
	got := s.crawl(t, crawl.Options{Depth: 3})
	if p, ok := got.pages["/end"]; !ok || p.Depth != 3 || got.pages["/x"].Depth != 2 {
		t.Errorf("depth of /x, /end = %d, %d (found %v), want 2, 3", got.pages["/x"].Depth, p.Depth, ok)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"/": links("/r1", "/loop1", "/self", "/far", "/bad", "/end", "/long/0"), "/end": links("/after")})
	s.pages["/r1"] = redirect("r2")
	s.pages["/r2"] = redirect(s.URL + "/end#x")
	s.pages["/loop1"] = redirect("/loop2")
	s.pages["/loop2"] = redirect("/loop1")
	s.pages["/self"] = redirect("/self")
	s.pages["/far"] = redirect("http://other.invalid/x")
	s.pages["/bad"] = redirect("mailto:x@example.com")
	for i := range 20 {
		s.pages[fmt.Sprintf("/long/%d", i)] = redirect(fmt.Sprintf("/long/%d", i+1))
	}
	got := s.crawl(t, crawl.Options{Depth: 2})
	if got.err != nil {
		t.Fatal(got.err)
	}
	for path, n := range s.hits {
		if n != 1 {
			t.Errorf("%s was asked for %d times, want once", path, n)
		}
	}
	for path, want := range map[string]crawl.Page{
		"/r1":      {Status: 302, Depth: 1, Redirect: s.URL + "/r2"},
		"/r2":      {Status: 302, Depth: 1, Redirect: s.URL + "/end", Hops: 1},
		"/loop2":   {Status: 302, Depth: 1, Redirect: s.URL + "/loop1", Hops: 1},
		"/self":    {Status: 302, Depth: 1, Redirect: s.URL + "/self", Error: "redirects to itself"},
		"/far":     {Status: 302, Depth: 1, Redirect: "http://other.invalid/x", Skipped: crawl.SkippedHost},
		"/bad":     {Status: 302, Depth: 1, Error: `redirect to "mailto:x@example.com", which is no web address`},
		"/long/10": {Status: 302, Depth: 1, Redirect: s.URL + "/long/11", Hops: 10, Error: "more than 10 redirects"},
		"/after":   {Status: 404, Depth: 2},
	} {
		p := got.pages[path]
		short := crawl.Page{Status: p.Status, Depth: p.Depth, Redirect: p.Redirect, Hops: p.Hops, Skipped: p.Skipped, Error: p.Error}
		if d := cmp.Diff(want, short); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
	}
	if _, ok := got.pages["/long/11"]; ok {
		t.Error("the eleventh redirect was followed")
	}
}

func TestTroubleEndsNoCrawl(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"/": links("/drip", "/short", "/hang", "/reset", "/binary", "/line", "/nil", "/fine"), "/fine": "fine"})
	s.pages["/drip"] = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(links("/found-in-part")))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	s.pages["/hang"] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	s.pages["/short"] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("short"))
	}
	s.pages["/reset"] = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	s.pages["/binary"] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/zip")
		w.Header().Set("Content-Length", "1000000000")
		_, _ = w.Write([]byte("PK"))
	}
	s.pages["/line"] = html("<p>" + strings.Repeat("a", 10<<20))
	s.pages["/nil"] = func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = w.Write([]byte("<!doctype html><title>sniffed</title>"))
	}
	got := s.crawl(t, crawl.Options{Timeout: crawl.Duration(300 * time.Millisecond), Retries: -1, MaxBytes: 1 << 20})
	if got.err != nil {
		t.Fatal(got.err)
	}
	for path, want := range map[string]string{
		"/drip":  "body: not done after 300ms",
		"/hang":  "not done after 300ms",
		"/short": "body: the server ended the connection early",
		"/reset": "the server ended the connection early",
		"/fine":  "", "/line": "", "/binary": "", "/nil": "",
	} {
		if p, ok := got.pages[path]; !ok || p.Error != want {
			t.Errorf("%s: Error = %q (found %v), want %q", path, p.Error, ok, want)
		}
	}
	if p := got.pages["/line"]; !p.Truncated || p.Bytes != 1<<20 || p.TextLength != 1<<20-3 {
		t.Errorf("/line: %+v, want it cut at 1 MiB", p)
	}
	if p := got.pages["/binary"]; p.Status != 200 || p.Bytes != 1e9 || p.Links != nil {
		t.Errorf("/binary: %+v, want its declared length and no links", p)
	}
	if p := got.pages["/nil"]; p.Title != "sniffed" {
		t.Errorf("/nil: Title = %q, want it read although it has no type", p.Title)
	}
	if _, ok := got.pages["/found-in-part"]; !ok {
		t.Error("a link of a page that came in part is not followed")
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"/": links("/500", "/429", "/404", "/later", "/never", "/501")})
	var n500, n429 int // each path is asked for by one worker at a time
	s.pages["/500"] = func(w http.ResponseWriter, r *http.Request) {
		if n500++; n500 == 1 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		html("ok")(w, r)
	}
	s.pages["/429"] = func(w http.ResponseWriter, r *http.Request) {
		if n429++; n429 == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		html("ok")(w, r)
	}
	status := func(code int, after string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(code)
		}
	}
	s.pages["/later"] = status(503, "3600")
	s.pages["/never"] = status(502, "")
	s.pages["/501"] = status(501, "")
	began := time.Now()
	got := s.crawl(t, crawl.Options{Retries: 1})
	if got.err != nil {
		t.Fatal(got.err)
	}
	if d := time.Since(began); d < time.Second {
		t.Errorf("done after %v, before the second that Retry-After asks for", d)
	}
	type short struct {
		Status, Attempts, Hits int
		Error                  bool
	}
	for path, want := range map[string]short{
		"/500": {200, 2, 2, false}, "/429": {200, 2, 2, false}, "/404": {404, 1, 1, false},
		"/later": {503, 1, 1, true}, "/never": {502, 2, 2, false}, "/501": {501, 1, 1, false},
	} {
		p := got.pages[path]
		if s := (short{p.Status, p.Attempts, s.count(path), p.Error != ""}); s != want {
			t.Errorf("%s: %+v, want %+v", path, s, want)
		}
	}
	if got.sum.Retries != 3 {
		t.Errorf("Retries = %d, want 3", got.sum.Retries)
	}
}

func TestConcurrencyPerHost(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"/": links("/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9")})
	var mu sync.Mutex
	active, most := 0, 0
	three := make(chan struct{})
	for i := range 9 {
		s.pages[fmt.Sprintf("/%d", i+1)] = func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			active++
			most = max(most, active)
			if most == 3 && active == 3 {
				select {
				case <-three:
				default:
					close(three)
				}
			}
			mu.Unlock()
			select {
			case <-three: // no answer before three are here
			case <-r.Context().Done():
			}
			// Nor before a fourth would have come.
			more := time.NewTimer(30 * time.Millisecond)
			<-more.C
			mu.Lock()
			active--
			mu.Unlock()
			html("x")(w, r)
		}
	}
	if got := s.crawl(t, crawl.Options{Concurrency: 3, Timeout: crawl.Duration(5 * time.Second)}); len(got.pages) != 10 {
		t.Errorf("%d pages, want 10", len(got.pages))
	}
	if most != 3 {
		t.Errorf("at most %d requests at a time, want 3", most)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		robots string
		delay  time.Duration
	}{
		"option": {"", 60 * time.Millisecond},
		"robots": {"user-agent: *\ncrawl-delay: 0.06", 0},
		"longer": {"user-agent: *\ncrawl-delay: 0.06", 20 * time.Millisecond},
	} {
		s := newSite(t, map[string]string{"/": links("/1", "/2", "/3"), "/robots.txt": c.robots})
		begun := time.Now()
		got := s.crawl(t, crawl.Options{Delay: crawl.Duration(c.delay)})
		if len(got.pages) != 4 || len(s.times) != 5 {
			t.Fatalf("%s: %d pages, %d requests, want 4, 5", name, len(got.pages), len(s.times))
		}
		for i := range s.times { // a request may come late, but not before it is sent
			if d, want := s.times[i].Sub(begun), time.Duration(i)*58*time.Millisecond; d < want {
				t.Errorf("%s: request %d came %v after the beginning, want %v or more", name, i, d, want)
			}
		}
	}
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	var proto string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto = r.Proto
		html("<title>two</title>")(w, r)
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	var title string
	_, err := crawl.Run(t.Context(), crawl.Options{Start: []string{srv.URL}, IgnoreRobots: true, UserAgent: "x"}, nil, crawl.Hooks{
		Net:  crawl.Net{TLS: &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12}},
		Page: func(p crawl.Page) { title = p.Title },
	})
	if err != nil || title != "two" || proto != "HTTP/2.0" {
		t.Errorf("title %q by %s, %v, want two by HTTP/2.0", title, proto, err)
	}
}

func TestCertificateErrorIsFinal(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s := &site{Server: srv}
	got := s.crawl(t, crawl.Options{})
	if !errors.Is(got.err, crawl.ErrUnreachable) || got.sum.Retries != 0 || !strings.Contains(got.err.Error(), "certificate") {
		t.Errorf("err = %v after %d retries, want ErrUnreachable for the certificate, 0", got.err, got.sum.Retries)
	}
}

// A server that does not answer had its start recorded as kept out by robots.txt;
// one that answers, but fails to give that file, keeps everything out.
func TestRecordOfUnreachable(t *testing.T) {
	t.Parallel()
	closed := newSite(t, nil)
	closed.Close()
	failing := newSite(t, map[string]string{"/": "x"})
	failing.pages["/robots.txt"] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	for _, c := range []struct{ start, skipped, says string }{
		{closed.URL, "", "refused"},
		{failing.URL, crawl.SkippedRobots, "status 503"},
	} {
		var got crawl.Page
		_, err := crawl.Run(t.Context(), crawl.Options{Start: []string{c.start}, Retries: -1}, nil, crawl.Hooks{Page: func(p crawl.Page) { got = p }})
		if !errors.Is(err, crawl.ErrUnreachable) {
			t.Errorf("Run(%s) = %v, want ErrUnreachable", c.start, err)
		}
		if got.Skipped != c.skipped || got.Status != 0 || !strings.Contains(got.Error, c.says) {
			t.Errorf("the record of %s = %+v, want skipped %q and %q as its error", c.start, got, c.skipped, c.says)
		}
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"/": "x"})
	s.pages["/away"] = redirect("http://other.invalid/")
	s.pages["/robots.txt"] = html("user-agent: faena\ndisallow: /private")
	closed := newSite(t, nil)
	closed.Close()
	for _, c := range []struct {
		start string
		want  error
		says  string
	}{
		{"", crawl.ErrInvalid, "https://example.com/"},
		{"example.com", crawl.ErrInvalid, "give it whole"},
		{"ftp://example.com/", crawl.ErrInvalid, "http"},
		{"http://u:p@example.com/", crawl.ErrInvalid, `"http://xxxxx@example.com/": user name or password in the address: leave them out`},
		{"http://example.com:99999/", crawl.ErrInvalid, "port out of range: give one from 1 to 65535"},
		{"http://u:p@example.com:99999/", crawl.ErrInvalid, `"http://xxxxx@example.com:99999/"`},
		{"http:///a", crawl.ErrInvalid, "no valid host name: give it whole"},
		{"http://a/" + strings.Repeat("x", 9000), crawl.ErrInvalid, `x...": longer than 8192 bytes: give a shorter one`},
		{closed.URL, crawl.ErrUnreachable, "check the address"},
		{s.URL + "/private/x", crawl.ErrRobots, "ignore robots.txt"},
		{s.URL + "/away", crawl.ErrElsewhere, "start at http://other.invalid/"},
		{s.URL + "/", nil, ""},
		{s.URL + "/missing", nil, ""},
	} {
		got := s.crawl(t, crawl.Options{Start: []string{c.start}, Retries: -1})
		if !errors.Is(got.err, c.want) || got.err != nil && !strings.Contains(got.err.Error(), c.says) {
			t.Errorf("start %q: err = %v, want %v and %q in it", c.start, got.err, c.want, c.says)
		}
	}
	for _, o := range []crawl.Options{{}, {Start: []string{"http://a/"}, Concurrency: -1}, {Start: []string{"http://a/"}, Hosts: []string{"a/b"}}} {
		if _, err := crawl.Run(t.Context(), o, nil, crawl.Hooks{}); !errors.Is(err, crawl.ErrInvalid) {
			t.Errorf("Run(%+v) = %v, want ErrInvalid", o, err)
		}
	}
	// One start that works is enough.
	if got := s.crawl(t, crawl.Options{Start: []string{closed.URL, s.URL}, Retries: -1}); got.err != nil || got.sum.Failed+got.sum.Skipped != 1 {
		t.Errorf("one start of two: %v, %+v, want nil and one failure", got.err, got.sum)
	}
}

func TestBatchesMakeTheSameCrawl(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"/": links("/a", "/b", "/r"), "/a": links("/c"), "/b": links("/c", "http://other.invalid/"), "/c": links("/")})
	s.pages["/r"] = redirect("/d")
	whole := s.crawl(t, crawl.Options{})
	o, err := crawl.Options{Start: []string{s.URL}}.Normal()
	if err != nil {
		t.Fatal(err)
	}
	front, scope := frontier.New(o.Limit()), crawl.NewScope(o)
	front.Add(frontier.Item{URL: o.Start[0]})
	got := map[string]crawl.Page{}
	client, err := crawl.NewClient(o, crawl.Net{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for items := front.Next(2); len(items) > 0; items = front.Next(2) {
		told := 0
		out, err := client.Fetch(t.Context(), append(items, items[0]), func(crawl.Page) { told++ })
		if err != nil || len(out.Pages) != len(items) || told != len(items) || out.Delay != 0 {
			t.Fatalf("Fetch = %d pages, delay %s, %v, told of %d; want %d, no delay", len(out.Pages), out.Delay, err, told, len(items))
		}
		for i, p := range out.Pages {
			if p.URL != items[i].URL {
				t.Errorf("page %d is %s, want %s", i, p.URL, items[i].URL)
			}
			// What crosses a process must be enough.
			line, err := p.AppendLine(nil)
			if err != nil {
				t.Fatal(err)
			}
			var back crawl.Page
			if err := json.Unmarshal(line, &back); err != nil {
				t.Fatal(err)
			}
			for _, it := range scope.Found(&back) {
				front.Add(it)
			}
			front.Finish(back.URL)
			back.ElapsedMS = 0
			got[strings.TrimPrefix(back.URL, s.URL)] = back
		}
	}
	for path, p := range whole.pages {
		p.ElapsedMS = 0
		whole.pages[path] = p
	}
	// Which page found another first may differ.
	if d := cmp.Diff(whole.pages, got, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Referrer" }, cmp.Ignore())); d != "" {
		t.Errorf("pages (-Run +Fetch):\n%s", d)
	}
}

// A client asks for robots.txt once, and tells the delay it demands.
func TestClientRemembersRobots(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"/robots.txt": "User-agent: *\nCrawl-delay: 0.01\nDisallow: /no", "/a": "", "/b": "", "/no": ""})
	client, err := crawl.NewClient(crawl.Options{Start: []string{s.URL}}, crawl.Net{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, path := range []string{"/a", "/b", "/no"} {
		out, err := client.Fetch(t.Context(), []frontier.Item{{URL: s.URL + path}}, nil)
		if err != nil || len(out.Pages) != 1 || out.Delay != 10*time.Millisecond {
			t.Fatalf("Fetch(%s) = %+v, %v, want a page and a delay of 10 ms", path, out, err)
		}
		if got, want := out.Pages[0].Skipped, map[string]string{"/no": crawl.SkippedRobots}[path]; got != want {
			t.Errorf("%s is skipped for %q, want %q", path, got, want)
		}
	}
	if n := s.count("/robots.txt"); n != 1 {
		t.Errorf("robots.txt was asked for %d times, want once", n)
	}
}

func TestCommitErrorEndsTheCrawl(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	_, err := crawl.Run(t.Context(), crawl.Options{Start: []string{calendar(t).URL}}, nil, crawl.Hooks{
		Commit: func(context.Context, crawl.Batch) error { return full },
	})
	if !errors.Is(err, full) {
		t.Errorf("err = %v, want %v", err, full)
	}
}

// A commit that does not end must stop the crawl, not fill the memory.
func TestSlowCommitHoldsTheCrawl(t *testing.T) {
	t.Parallel()
	s := calendar(t)
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	var mu sync.Mutex
	n, first := 0, true
	_, err := crawl.Run(ctx, crawl.Options{Start: []string{s.URL}}, nil, crawl.Hooks{
		Page: func(crawl.Page) {
			mu.Lock()
			defer mu.Unlock()
			n++
		},
		Commit: func(context.Context, crawl.Batch) error {
			if !first {
				return nil
			}
			first = false
			go func() {
				// Nothing tells that the crawl stands still but its standing still.
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for before := -1; ; {
					<-tick.C
					mu.Lock()
					now := n
					mu.Unlock()
					if now == before && now > 0 {
						break
					}
					before = now
				}
				cancel()
				close(release)
			}()
			<-release
			return nil
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want it cancelled", err)
	}
	if limit := 3 * (crawl.FlushPages + crawl.DefaultTotal); n > limit {
		t.Errorf("%d pages with a commit that stood still, want at most %d", n, limit)
	}
}

func TestOptionsInJSON(t *testing.T) {
	t.Parallel()
	in := crawl.Options{Start: []string{"http://a/"}, Delay: crawl.Duration(1500 * time.Millisecond), Depth: 2}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"start":["http://a/"],"depth":2,"delay":"1.5s"}`; string(b) != want {
		t.Errorf("JSON = %s, want %s", b, want)
	}
	var out crawl.Options
	if err := json.Unmarshal(b, &out); err != nil || !cmp.Equal(in, out) {
		t.Errorf("back = %+v, %v, want %+v", out, err, in)
	}
}

func TestLinesAreOneObjectEach(t *testing.T) {
	t.Parallel()
	p := crawl.Page{URL: "http://a/?x&y", Title: "a\n<b>\u2028", Links: []string{}}
	line, err := p.AppendLine([]byte("{}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(line, []byte("\n")); n != 2 || !bytes.Contains(line, []byte(`"url":"http://a/?x&y"`)) || !bytes.Contains(line, []byte(`"links":[]`)) {
		t.Errorf("AppendLine = %q, want one more line with the address as it is", line)
	}
}
