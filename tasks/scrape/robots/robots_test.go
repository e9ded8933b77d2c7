package robots_test

import (
	"strings"
	"testing"
	"time"

	"github.com/faena-dev/faena/tasks/scrape/robots"
)

// The cases come from RFC 9309 and from the documentation of the parser that
// Google publishes.
func TestAllowed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file string
		yes, no    []string
	}{
		{"empty", "", []string{"/", "/x"}, nil},
		{"all", "user-agent: FooBot\ndisallow: /\n", []string{"/robots.txt"}, []string{"/", "/x/y"}},
		{"no colon", "user-agent FooBot\ndisallow /\n", nil, []string{"/x/y"}},
		{"unknown lines", "foo: FooBot\nbar: /\n", []string{"/x/y"}, nil},
		{"other agent", "user-agent: BarBot\ndisallow: /\n", []string{"/"}, nil},
		{
			"star", "user-agent: *\ndisallow: /foo\ndisallow: /bar\n\nuser-agent: BazBot\ndisallow: /baz\n",
			[]string{"/baz"},
			[]string{"/foo", "/bar"},
		},
		{
			"star only if not named", "user-agent: *\ndisallow: /x/\nuser-agent: FooBot\ndisallow: /y/\n",
			[]string{"/x/page"},
			[]string{"/y/page"},
		},
		{"named without rules", "user-agent: *\ndisallow: /\nuser-agent: foobot\n", []string{"/x"}, nil},
		{"merged", "user-agent: FooBot\ndisallow: /foo\n\nuser-agent: FooBot\ndisallow: /baz\n", []string{"/qux"}, []string{"/foo", "/baz"}},
		{
			"groups", "allow: /foo/bar/\n\nuser-agent: FooBot\ndisallow: /\nallow: /x/\nuser-agent: BarBot\ndisallow: /\nallow: /y/\n\n\nallow: /w/\nuser-agent: BazBot\n\nuser-agent: FooBot\nallow: /z/\ndisallow: /\n",
			[]string{"/x/b", "/z/d"},
			[]string{"/y/c", "/w/a", "/foo/bar/"},
		},
		{"two agents", "user-agent: BarBot\nuser-agent: FooBot\ndisallow: /x\n", []string{"/y"}, []string{"/x"}},
		{"sitemap ends no group", "user-agent: FooBot\nsitemap: https://a/b\ndisallow: /x\n", nil, []string{"/x"}},
		{"sitemap between agents", "user-agent: FooBot\nsitemap: https://a/b\nuser-agent: BarBot\ndisallow: /x\n", nil, []string{"/x"}},
		{"case of names", "USER-AGENT: FOOBOT\nALLOW: /x/\nDISALLOW: /\n", []string{"/x/y"}, []string{"/a/b", "/X/y"}},
		{"agent up to a blank", "User-Agent: *\nDisallow: /\nUser-Agent: FooBot Bar\nAllow: /x/\nDisallow: /\n", []string{"/x/y"}, []string{"/y"}},
		{"agent with version", "User-Agent: FooBot/2.1\nDisallow: /x\n", nil, []string{"/x"}},
		{"agent is no prefix", "User-Agent: Foo\nDisallow: /x\n", []string{"/x"}, nil},
		{"longest disallow", "user-agent: FooBot\ndisallow: /x/page.html\nallow: /x/\n", []string{"/x/"}, []string{"/x/page.html"}},
		{"longest allow", "user-agent: FooBot\nallow: /x/page.html\ndisallow: /x/\n", []string{"/x/page.html"}, []string{"/x/"}},
		{"empty patterns", "user-agent: FooBot\ndisallow: \nallow: \n", []string{"/x"}, nil},
		{"tie", "user-agent: FooBot\ndisallow: /\nallow: /\n", []string{"/x"}, nil},
		{"tie the other way", "user-agent: FooBot\nallow: /folder\ndisallow: /folder\n", []string{"/folder/page"}, nil},
		{"slash", "user-agent: FooBot\ndisallow: /x\nallow: /x/\n", []string{"/x/"}, []string{"/x"}},
		{"wildcard is longer", "user-agent: FooBot\nallow: /page\ndisallow: /*.html\n", []string{"/page"}, []string{"/page.html"}},
		{"wildcard is shorter", "user-agent: FooBot\nallow: /x/page.\ndisallow: /*.html\n", []string{"/x/page.html"}, []string{"/x/y.html"}},
		{"htm", "user-agent: FooBot\nallow: /page\ndisallow: /*.htm\n", nil, []string{"/page.htm"}},
		{"root only", "user-agent: FooBot\nallow: /$\ndisallow: /\n", []string{"/"}, []string{"/page.html"}},
		{
			"fish", "user-agent: FooBot\ndisallow: /\nallow: /fish\n",
			[]string{"/fish", "/fish.html", "/fish/salmon.html", "/fishheads", "/fishheads/yummy.html", "/fish.html?id=anything"},
			[]string{"/bar", "/Fish.asp", "/catfish", "/?id=fish"},
		},
		{
			"fish*", "user-agent: FooBot\ndisallow: /\nallow: /fish*\n",
			[]string{"/fish", "/fish.html", "/fishheads/yummy.html"},
			[]string{"/Fish.bar", "/catfish", "/?id=fish"},
		},
		{
			"fish/", "user-agent: FooBot\ndisallow: /\nallow: /fish/\n",
			[]string{"/fish/", "/fish/salmon", "/fish/?salmon"},
			[]string{"/fish", "/fish.html", "/Fish/Salmon.html"},
		},
		{
			"*.php", "user-agent: FooBot\ndisallow: /\nallow: /*.php\n",
			[]string{"/filename.php", "/folder/filename.php?parameters", "//folder/any.php.file.html", "/filename.php/", "/index?f=filename.php/"},
			[]string{"/php/", "/index?php", "/windows.PHP"},
		},
		{
			"*.php$", "user-agent: FooBot\ndisallow: /\nallow: /*.php$\n",
			[]string{"/filename.php", "/folder/filename.php", "/a.php/b.php"},
			[]string{"/filename.php?parameters", "/filename.php/", "/filename.php5", "/php/", "/filename?php", "/aaaphpaaa", "/windows.PHP"},
		},
		{
			"fish*.php", "user-agent: FooBot\ndisallow: /\nallow: /fish*.php\n",
			[]string{"/fish.php", "/fishheads/catfish.php?parameters"},
			[]string{"/Fish.PHP"},
		},
		{"overlap", "user-agent: FooBot\ndisallow: /ab*ba$\n", []string{"/aba", "/abab"}, []string{"/abba", "/abxba", "/abbaba"}},
		{"end", "user-agent: FooBot\ndisallow: /foo/bar$\n", []string{"/foo/bar/", "/foo/bar/qux"}, []string{"/foo/bar"}},
		{"comment", "user-agent: FooBot # us\n# disallow: /\ndisallow: /foo/quz#qux\nallow: / # all\n", []string{"/foo/bar"}, []string{"/foo/quz"}},
		{
			"query", "User-agent: FooBot\nDisallow: /\nAllow: /foo/bar?qux=taz&baz=http://foo.bar?tar&par\n",
			[]string{"/foo/bar?qux=taz&baz=http://foo.bar?tar&par"},
			[]string{"/foo/bar"},
		},
		{"UTF-8", "User-agent: FooBot\nDisallow: /\nAllow: /foo/bar/ツ\n", []string{"/foo/bar/%E3%83%84", "/foo/bar/%e3%83%84"}, []string{"/foo/bar/"}},
		{"encoded UTF-8", "User-agent: FooBot\nDisallow: /\nAllow: /foo/bar/%E3%83%84\n", []string{"/foo/bar/%E3%83%84"}, nil},
		{"encoded letters", "User-agent: FooBot\nDisallow: /\nAllow: /foo/bar/%62%61%7A\n", []string{"/foo/bar/baz"}, nil},
		{"encoded star", "User-agent: FooBot\nDisallow: /path/file-with-a-%2A.html\n", []string{"/path/file-with-a-b.html"}, []string{"/path/file-with-a-*.html"}},
		{"encoded dollar", "User-agent: FooBot\nDisallow: /path/foo-%24\n", []string{"/path/foo-"}, []string{"/path/foo-$"}},
		{"line ends", "User-agent: FooBot\r\nDisallow: /a\rDisallow: /b\n\nDisallow: /c", nil, []string{"/a", "/b", "/c"}},
		{"byte order mark", "\xef\xbb\xbfUser-agent: FooBot\nDisallow: /a\n", nil, []string{"/a"}},
		{"blanks", "  user-agent :\tFooBot  \n\tdisallow  :  /a  \n", nil, []string{"/a"}},
	} {
		r := robots.Parse([]byte(c.file), "FooBot")
		for _, p := range c.yes {
			if !r.Allowed(p) {
				t.Errorf("%s: Allowed(%q) = false, want true", c.name, p)
			}
		}
		for _, p := range c.no {
			if r.Allowed(p) {
				t.Errorf("%s: Allowed(%q) = true, want false", c.name, p)
			}
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]time.Duration{
		"user-agent: *\ncrawl-delay: 2.5\n":                                      2500 * time.Millisecond,
		"user-agent: *\ncrawl-delay: 9\nuser-agent: foobot\ncrawl-delay: 1\n":    time.Second,
		"user-agent: *\ncrawl-delay: 9\nuser-agent: foobot\ndisallow: /x\n":      0,
		"user-agent: *\ncrawl-delay: -1\n":                                       0,
		"user-agent: *\ncrawl-delay: soon\n":                                     0,
		"user-agent: *\ncrawl-delay: NaN\n":                                      0,
		"crawl-delay: 4\nuser-agent: *\n":                                        0,
		"user-agent: foobot\ncrawl-delay: 1\nuser-agent: foobot\ncrawl-delay: 3": 3 * time.Second,
	} {
		if got := robots.Parse([]byte(file), "FooBot").Delay(); got != want {
			t.Errorf("Delay() of %q = %v, want %v", file, got, want)
		}
	}
}

func TestSizeIsCapped(t *testing.T) {
	t.Parallel()
	pad := strings.Repeat("# padding\n", robots.MaxSize/10)
	r := robots.Parse([]byte("user-agent: *\ndisallow: /a\n"+pad+"disallow: /b\n"), "x")
	if r.Allowed("/a") || !r.Allowed("/b") {
		t.Errorf("Allowed(/a), Allowed(/b) = %v, %v, want false, true", r.Allowed("/a"), r.Allowed("/b"))
	}
}

func TestDenyAll(t *testing.T) {
	t.Parallel()
	if r := robots.DenyAll(); r.Allowed("/") || !r.Allowed("/robots.txt") {
		t.Error("DenyAll() allows / or forbids /robots.txt")
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"faena/1.2 (+https://x)": "faena", "my-bot_x": "my-bot_x", "": "", "1x": ""} {
		if got := robots.Token(in); got != want {
			t.Errorf("Token(%q) = %q, want %q", in, got, want)
		}
	}
}

// naive matches by trying every length for every star.
func naive(pattern, s string) bool {
	switch {
	case pattern == "":
		return true
	case pattern == "$":
		return s == ""
	case pattern[0] == '*':
		for i := range len(s) + 1 {
			if naive(pattern[1:], s[i:]) {
				return true
			}
		}
		return false
	}
	return s != "" && s[0] == pattern[0] && naive(pattern[1:], s[1:])
}

func FuzzMatch(f *testing.F) {
	f.Add("/a*b$", "/aab")
	f.Add("/*a*b", "/xbab")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		plain := func(s, more string) bool {
			return len(s) < 12 && strings.Trim(s, "ab/"+more) == ""
		}
		if !plain(pattern, "*$") || strings.Contains(strings.TrimSuffix(pattern, "$"), "$") || pattern == "" || !plain(path, "") {
			return
		}
		r := robots.Parse([]byte("user-agent: *\ndisallow: "+pattern), "x")
		if got, want := !r.Allowed(path), naive(pattern, path); got != want {
			t.Errorf("pattern %q matches %q = %v, want %v", pattern, path, got, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("user-agent: *\ndisallow: /a*%zz$\r\ncrawl-delay: 1e400"), "/a%")
	f.Fuzz(func(t *testing.T, file []byte, path string) {
		r := robots.Parse(file, "x")
		if !r.Allowed("/robots.txt") || r.Delay() < 0 {
			t.Errorf("robots.txt forbidden or Delay() = %v", r.Delay())
		}
		r.Allowed(path)
	})
}

func BenchmarkAllowed(b *testing.B) {
	var file strings.Builder
	file.WriteString("user-agent: *\n")
	for range 20 {
		file.WriteString("disallow: /private/area\ndisallow: /*.php$\nallow: /docs/*/public\n")
	}
	r := robots.Parse([]byte(file.String()), "x")
	b.ReportAllocs()
	for b.Loop() {
		r.Allowed("/docs/api/java/util/concurrent/ConcurrentHashMap.html")
	}
}
