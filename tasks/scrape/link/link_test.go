package link_test

import (
	"strings"
	"testing"

	"github.com/faena-dev/faena/tasks/scrape/link"
)

// A password stood in the error that refused it.
func TestShown(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 300)
	for in, want := range map[string]string{
		"":                             "",
		"example.com":                  "example.com",
		"https://example.com/@user?a":  "https://example.com/@user?a",
		"http://a:8080/@user":          "http://a:8080/@user",
		"http://me:secret@a.test/x":    "http://xxxxx@a.test/x",
		"http://me:se@cret@a.test/x@y": "http://xxxxx@a.test/x@y",
		"me:secret@a.test":             "xxxxx@a.test",
		"http://me:se/cret@a.test/":    "http://xxxxx@a.test/",
		"ftp://me@a.test":              "ftp://xxxxx@a.test",
		"http://" + long:               "http://" + strings.Repeat("é", 96) + "...",
	} {
		if got := link.Shown(in); got != want {
			t.Errorf("Shown(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"http://example.com":                   "http://example.com/",
		"HTTP://EXAMPLE.com:80/a":              "http://example.com/a",
		"https://example.com:443/":             "https://example.com/",
		"https://example.com:0443/":            "https://example.com/",
		"http://example.com:443/":              "http://example.com:443/",
		"http://example.com:/x":                "http://example.com/x",
		"http://example.com?q=1":               "http://example.com/?q=1",
		"http://example.com/#frag":             "http://example.com/",
		"http://example.com/a/./b/../c":        "http://example.com/a/c",
		"http://example.com/a/..":              "http://example.com/",
		"http://example.com/../../a":           "http://example.com/a",
		"http://example.com/a/.":               "http://example.com/a/",
		"http://example.com/a//b":              "http://example.com/a//b",
		"http://example.com/..a/b..":           "http://example.com/..a/b..",
		"http://example.com/%7euser/%2e%2E/x":  "http://example.com/x",
		"http://example.com/%7euser":           "http://example.com/~user",
		"http://example.com/a%2fb%c3%a9":       "http://example.com/a%2Fb%C3%A9",
		"http://example.com/é b":               "http://example.com/%C3%A9%20b",
		"http://example.com/100%":              "http://example.com/100%25",
		"http://example.com/%zz":               "http://example.com/%25zz",
		"http://example.com/a?b=%7e c&d=<é>":   "http://example.com/a?b=%7e%20c&d=%3C%C3%A9%3E",
		"http://example.com/a?b=../c":          "http://example.com/a?b=../c",
		`http:\\example.com\a\b?c\d`:           `http://example.com/a/b?c\d`,
		" http://example.com/a\n":              "http://example.com/a",
		"http://exam\nple.com/a\tb":            "http://example.com/ab",
		"http://bücher.example/":               "http://xn--bcher-kva.example/",
		"http://ex%61mple.com/":                "http://example.com/",
		"http://[::1]:80/":                     "http://[::1]/",
		"http://[2001:DB8:0:0:0:0:0:1]:8080/a": "http://[2001:db8::1]:8080/a",
		"http://a_b.example.com/":              "http://a_b.example.com/",
	} {
		if got, err := link.Parse(in); got != want || err != nil {
			t.Errorf("Parse(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "example.com", "/a", "//example.com/", "ftp://example.com/", "mailto:a@b", "http:a", "http:///a", "http://",
		"http://example.com:99999/", "http://example.com:0/", "http://example.com:a/", "http://user:pw@example.com/",
		"http://[::1/", "http://[fe80::1%25eth0]/", "http://a..b/", "http://exa mple.com/", "http://%00/",
		"http://example.com/" + strings.Repeat("a", link.MaxLen),
	} {
		if got, err := link.Parse(in); err == nil {
			t.Errorf("Parse(%.60q) = %.60q, want an error", in, got)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	base := link.NewBase("https://example.com/a/b/c.html?q=1")
	for ref, want := range map[string]string{
		"d.html":                     "https://example.com/a/b/d.html",
		"./d.html":                   "https://example.com/a/b/d.html",
		"../d.html":                  "https://example.com/a/d.html",
		"../../../d.html":            "https://example.com/d.html",
		"d/":                         "https://example.com/a/b/d/",
		".":                          "https://example.com/a/b/",
		"..":                         "https://example.com/a/",
		"/d":                         "https://example.com/d",
		"//other.example/d":          "https://other.example/d",
		`\\other.example\d`:          "https://other.example/d",
		"http://other.example/d":     "http://other.example/d",
		"HTTP://u:p@other.example/d": "http://other.example/d",
		"?r=2":                       "https://example.com/a/b/c.html?r=2",
		"d?r=../x":                   "https://example.com/a/b/d?r=../x",
		"":                           "https://example.com/a/b/c.html?q=1",
		"#top":                       "https://example.com/a/b/c.html?q=1",
		" d.html\n":                  "https://example.com/a/b/d.html",
		"d e.html":                   "https://example.com/a/b/d%20e.html",
		"a:b/c":                      "",
		"./a:b":                      "https://example.com/a/b/a:b",
		"mailto:a@example.com":       "",
		"javascript:void(0)":         "",
		"data:text/html,x":           "",
		"http:d.html":                "",
		"http://":                    "",
		"//":                         "",
	} {
		got, ok := base.Resolve(ref)
		if got != want || ok != (want != "") {
			t.Errorf("Resolve(%q) = %q, %v, want %q", ref, got, ok, want)
		}
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, origin, host, target string }{
		{"http://example.com/", "http://example.com", "example.com", "/"},
		{"https://example.com/a?b", "https://example.com", "example.com", "/a?b"},
		{"http://example.com:443/", "http://example.com:443", "example.com", "/"},
		{"http://example.com:8080/a", "http://example.com:8080", "example.com:8080", "/a"},
		{"http://[::1]/a", "http://[::1]", "[::1]", "/a"},
		{"http://[::80]:81/a", "http://[::80]:81", "[::80]:81", "/a"},
	} {
		if o, h, g := link.Origin(c.in), link.Host(c.in), link.Target(c.in); o != c.origin || h != c.host || g != c.target {
			t.Errorf("Origin, Host, Target(%q) = %q, %q, %q, want %q, %q, %q", c.in, o, h, g, c.origin, c.host, c.target)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("http://Example.com:80/a/../%7e?x#y")
	f.Add("http://bücher.example/%%341//..")
	f.Add(`https:\\[::1]:443\.\..?a`)
	f.Fuzz(func(t *testing.T, in string) {
		once, err := link.Parse(in)
		if err != nil {
			return
		}
		if twice, err := link.Parse(once); twice != once || err != nil {
			t.Errorf("Parse(%q) = %q, and of that %q, %v", in, once, twice, err)
		}
		for i := range len(once) {
			if c := once[i]; c <= ' ' || c >= 0x7f || c == '#' {
				t.Errorf("Parse(%q) = %q, which has the octet %#x", in, once, c)
			}
		}
	})
}

func FuzzResolve(f *testing.F) {
	f.Add("../a/./b?c#d")
	f.Add("//h/%2e%2e/x")
	f.Add(`.\..\/a`)
	base := link.NewBase("http://example.com/x/y/z?q")
	f.Fuzz(func(t *testing.T, ref string) {
		got, ok := base.Resolve(ref)
		if !ok {
			return
		}
		if again, err := link.Parse(got); again != got || err != nil {
			t.Errorf("Resolve(%q) = %q, which Parse turns into %q, %v", ref, got, again, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := link.Parse("https://Example.com/docs/a/../b/%7euser/page.html?x=1#frag"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	base := link.NewBase("https://example.com/docs/api/java/util/List.html")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := base.Resolve("../../java/lang/Object.html#hashCode()"); !ok {
			b.Fatal("not resolved")
		}
	}
}
