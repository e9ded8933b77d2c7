package crawl_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/faena-dev/faena/tasks/scrape/crawl"
)

// names answers every query for an A record with 127.0.0.1.
func names(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // a test's own socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
				}}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func port(t *testing.T, s *site) string {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func TestOtherHostsOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	other := newSite(t, map[string]string{"/": links("/more"), "/more": ""})
	s := newSite(t, map[string]string{"/": links(other.URL, "/a")})
	for name, c := range map[string]struct {
		opt  crawl.Options
		want []string
	}{
		"default":         {crawl.Options{}, []string{"/", "/a"}},
		"named":           {crawl.Options{Hosts: []string{strings.TrimPrefix(other.URL, "http://")}, AllowPrivate: true}, []string{"/", "/a", other.URL + "/", other.URL + "/more"}},
		"all":             {crawl.Options{AllHosts: true, AllowPrivate: true}, []string{"/", "/a", other.URL + "/", other.URL + "/more"}},
		"all not private": {crawl.Options{AllHosts: true}, []string{"/", "/a", other.URL + "/"}},
	} {
		before := other.count("/")
		got := s.crawl(t, c.opt)
		if d := cmp.Diff(c.want, got.paths()); d != "" || got.err != nil {
			t.Errorf("%s: %v, pages (-want +got):\n%s", name, got.err, d)
		}
		asked := other.count("/") - before
		if p, ok := got.pages[other.URL+"/"]; ok && !c.opt.AllowPrivate {
			if p.Skipped != crawl.SkippedPrivate || asked != 0 || !strings.Contains(p.Error, "loopback") || p.Status != 0 {
				t.Errorf("%s: private host: %+v, asked for %d times, want it skipped", name, p, asked)
			}
		}
		if l := got.pages["/"].LinkCount; l != 2 {
			t.Errorf("%s: LinkCount = %d, want 2 whatever is followed", name, l)
		}
	}
}

// Neither a name that resolves to a private address, nor a redirect, nor the
// start host's name with another port, is a way around the guard.
func TestPrivateAddressesByNameAndRedirect(t *testing.T) {
	t.Parallel()
	inner := newSite(t, map[string]string{"/": "secret", "/robots.txt": ""})
	p := port(t, inner)
	s := newSite(t, map[string]string{"/": links("/hop", "http://localhost.example:"+p+"/", "http://127.0.0.1:"+p+"/", "http://[::ffff:127.0.0.1]:"+p+"/")})
	s.pages["/hop"] = redirect("http://redirected.example:" + p + "/")
	for _, ignore := range []bool{false, true} {
		skipped := 0
		_, err := crawl.Run(t.Context(), crawl.Options{Start: []string{s.URL}, AllHosts: true, IgnoreRobots: ignore}, nil, crawl.Hooks{
			Net: crawl.Net{Resolver: names(t)},
			Page: func(p crawl.Page) {
				if p.Skipped == crawl.SkippedPrivate && p.Attempts == 1 {
					skipped++
				}
			},
		})
		if err != nil || skipped != 4 {
			t.Errorf("ignore robots %v: %d skipped, %v, want 4, nil", ignore, skipped, err)
		}
	}
	if len(inner.hits) != 0 {
		t.Errorf("the private server was asked for %v", inner.hits)
	}
}

// The start's own name counts as asked for, whatever it resolves to.
func TestStartHostMayBePrivate(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"/": links("/a"), "/a": ""})
	start := "http://intranet.example:" + port(t, s) + "/"
	sum, err := crawl.Run(t.Context(), crawl.Options{Start: []string{start}}, nil, crawl.Hooks{Net: crawl.Net{Resolver: names(t)}})
	if err != nil || sum.OK != 2 {
		t.Errorf("Run(%s) = %+v, %v, want 2 pages", start, sum, err)
	}
}

func TestRobots(t *testing.T) {
	t.Parallel()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		robots http.HandlerFunc
		opt    crawl.Options
		ok     int
		skip   int
		err    error
	}{
		"absent":       {nil, crawl.Options{}, 3, 0, nil},
		"forbidden":    {status(403), crawl.Options{}, 3, 0, nil},
		"rules":        {html("user-agent: *\ndisallow: /p"), crawl.Options{}, 2, 1, nil},
		"other agent":  {html("user-agent: other\ndisallow: /p"), crawl.Options{}, 3, 0, nil},
		"our agent":    {html("user-agent: *\ndisallow: /p\nuser-agent: mine\ndisallow: /q"), crawl.Options{UserAgent: "mine/1.0"}, 2, 1, nil},
		"ignored":      {html("user-agent: *\ndisallow: /"), crawl.Options{IgnoreRobots: true}, 3, 0, nil},
		"broken":       {status(503), crawl.Options{Retries: -1}, 0, 1, crawl.ErrUnreachable},
		"redirected":   {redirect("/r2"), crawl.Options{}, 2, 1, nil},
		"redirect off": {redirect("/robots.txt"), crawl.Options{}, 3, 0, nil},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = w.Write([]byte("user-agent: *\n"))
		}, crawl.Options{Retries: -1}, 0, 1, crawl.ErrUnreachable},
	} {
		s := newSite(t, map[string]string{"/": links("/p", "/q"), "/p": "", "/q": "", "/r2": "user-agent: *\ndisallow: /p"})
		if c.robots != nil {
			s.pages["/robots.txt"] = c.robots
		}
		got := s.crawl(t, c.opt)
		if got.sum.OK != c.ok || got.sum.Skipped != c.skip || !errors.Is(got.err, c.err) {
			t.Errorf("%s: %d fetched, %d skipped, %v, want %d, %d, %v", name, got.sum.OK, got.sum.Skipped, got.err, c.ok, c.skip, c.err)
		}
		if n := s.count("/robots.txt"); c.opt.IgnoreRobots != (n == 0) || n > 1 && name != "redirect off" {
			t.Errorf("%s: robots.txt was asked for %d times", name, n)
		}
		if p := got.pages["/p"]; c.skip == 1 && c.err == nil && name != "our agent" && (p.Skipped != crawl.SkippedRobots || p.Status != 0 || p.Error != "" || s.count("/p") != 0) {
			t.Errorf("%s: record of /p = %+v, want it skipped", name, p)
		}
	}
}

func TestRobotsComesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"/": links("/p"), "/p": ""})
	n := 0 // one request at a time until it is known
	s.pages["/robots.txt"] = func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		html("user-agent: *\ndisallow: /p")(w, r)
	}
	got := s.crawl(t, crawl.Options{})
	if got.err != nil || got.sum.OK != 1 || got.sum.Skipped != 1 || got.sum.Retries != 1 {
		t.Errorf("%+v, %v, want 1 fetched, 1 skipped, 1 retry", got.sum, got.err)
	}
}

func TestMetaNoFollow(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"/": `<meta name=robots content=nofollow>` + links("/a"), "/a": ""})
	for ignore, want := range map[bool]int{false: 1, true: 2} {
		if got := s.crawl(t, crawl.Options{IgnoreRobots: ignore}); got.sum.Pages != want || got.pages["/"].LinkCount != 1 {
			t.Errorf("ignore %v: %d pages, want %d", ignore, got.sum.Pages, want)
		}
	}
}
