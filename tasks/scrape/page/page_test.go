package page_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"github.com/faena-dev/faena/tasks/scrape/link"
	"github.com/faena-dev/faena/tasks/scrape/page"
)

const at = "http://example.com/d/p.html"

func read(body, contentType string) page.Doc {
	var r page.Reader
	return r.Read([]byte(body), contentType, at)
}

func TestLinks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   string
		want []string
	}{
		"none":         {"<p>hello", []string{}},
		"once":         {`<a href=a>1</a><a href="a#x">2</a><A HREF='./a'>3</A>`, []string{"a"}},
		"order":        {`<a href=b></a><a href=a></a>`, []string{"b", "a"}},
		"kinds":        {`<area href=a><frame src=b><iframe src=c></iframe><a href=d>`, []string{"a", "b", "c", "d"}},
		"not links":    {`<link href=a><img src=b><script src=c></script><a name=d><form action=e>`, []string{}},
		"schemes":      {`<a href="mailto:x@y"><a href="javascript:1"><a href="tel:1"><a href="http://h/">`, []string{"http://h/"}},
		"base":         {`<base href="/x/"><base href="/y/"><a href=a>`, []string{"/x/a"}},
		"base broken":  {`<base href="mailto:x"><a href=a>`, []string{"a"}},
		"entities":     {`<a href="a?b=1&amp;c=2">`, []string{"a?b=1&c=2"}},
		"comment":      {`<!-- <a href=a> --><a href=b>`, []string{"b"}},
		"script":       {`<script>"<a href=a>"</script><a href=b>`, []string{"b"}},
		"noscript":     {`<noscript><a href=a></noscript>`, []string{"a"}},
		"template":     {`<template><a href=a></template><a href=b>`, []string{"b"}},
		"textarea":     {`<textarea><a href=a></textarea><a href=b>`, []string{"b"}},
		"refresh":      {`<meta http-equiv=Refresh content="0; URL='a'">`, []string{"a"}},
		"refresh bare": {`<meta http-equiv=refresh content="5;a">`, []string{"a"}},
		"refresh self": {`<meta http-equiv=refresh content="5">`, []string{}},
		"svg":          {`<svg><a xlink:href="a">`, []string{"a"}},
		"unclosed":     {`<a href="a"><a href="b`, []string{"a"}},
		"first wins":   {`<a href=a href=b>`, []string{"a"}},
		"empty":        {`<a href="">`, []string{at}},
	} {
		want := []string{}
		base := link.NewBase(at)
		for _, w := range c.want {
			u, _ := base.Resolve(w)
			want = append(want, u)
		}
		if d := cmp.Diff(want, read(c.in, "text/html").Links); d != "" {
			t.Errorf("%s: Links (-want +got):\n%s", name, d)
		}
	}
}

func TestTitleAndText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct {
		title string
		text  int
	}{
		"":                                   {"", 0},
		"<title> A \n B </title>hello":       {"A B", 5},
		"<title>A &amp; B</title>":           {"A & B", 0},
		"<title></title><p>x":                {"", 1},
		"<title>1</title><title>2</title>":   {"1", 0},
		"  a  b \n c ":                       {"", 5},
		"<p>a</p><p>b</p>":                   {"", 3},
		"<b>a</b>b":                          {"", 2},
		"a<br>b":                             {"", 3},
		"<script>var x</script>ab":           {"", 2},
		"<style>p{}</style>ab":               {"", 2},
		"<noscript>no <b>x</b></noscript>ab": {"", 2},
		"<template>no</template>ab":          {"", 2},
		"&eacute;&#233;&#xe9;é":              {"", 4},
		"a & b &c; &nosemicolon":             {"", 20},
		"<!-- comment -->a":                  {"", 1},
		"<svg><title>icon</title></svg>a":    {"icon", 1},
		"<script>unclosed":                   {"", 0},
	} {
		if d := read(in, "text/html; charset=utf-8"); d.Title != want.title || d.TextLength != want.text {
			t.Errorf("Read(%q) = title %q, text %d, want %q, %d", in, d.Title, d.TextLength, want.title, want.text)
		}
	}
}

func TestLongTitleIsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	got := read("<title>x"+strings.Repeat("é", page.MaxTitle)+"</title>", "text/html; charset=utf-8").Title
	if len(got) > page.MaxTitle || len(got) < page.MaxTitle-1 || !utf8.ValidString(got) {
		t.Errorf("len(Title) = %d, valid %v, want about %d", len(got), utf8.ValidString(got), page.MaxTitle)
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	const text = "<title>Ünïcode</title><a href=é>"
	latin, err := charmap.Windows1252.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	sjis, err := japanese.ShiftJIS.NewEncoder().String("<title>日本</title>")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ body, contentType, title string }{
		"header":              {latin, "text/html; charset=ISO-8859-1", "Ünïcode"},
		"meta":                {`<meta charset="windows-1252">` + latin, "text/html", "Ünïcode"},
		"guessed UTF-8":       {strings.Repeat(" ", 2000) + text, "text/html", "Ünïcode"},
		"guessed latin":       {latin, "text/html", "Ünïcode"},
		"UTF-16":              {utf16, "text/html", "Ünïcode"},
		"UTF-16 against UTF8": {utf16, "text/html; charset=utf-8", "Ünïcode"},
		"mark":                {"\xef\xbb\xbf" + text, "text/html", "Ünïcode"},
		"shift JIS":           {sjis, "text/html; charset=shift_jis", "日本"},
		"unknown":             {text, "text/html; charset=klingon", "Ünïcode"},
		"wrong":               {"<title>a\xff\xfeb</title>", "text/html; charset=utf-8", "a\uFFFDb"},
	} {
		d := read(c.body, c.contentType)
		if d.Title != c.title {
			t.Errorf("%s: Title = %q, want %q", name, d.Title, c.title)
		}
		if strings.Contains(c.body, "href") && strings.Contains(c.title, "Ü") &&
			!cmp.Equal(d.Links, []string{"http://example.com/d/%C3%A9"}) {
			t.Errorf("%s: Links = %q, want the é in UTF-8", name, d.Links)
		}
	}
}

func TestNoFollow(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		`<meta name=robots content="noindex, NoFollow">`: true,
		`<meta name=ROBOTS content=none>`:                true,
		`<meta name=robots content=noindex>`:             false,
		`<meta name=description content=nofollow>`:       false,
	} {
		if got := read(in, "text/html").NoFollow; got != want {
			t.Errorf("NoFollow of %q = %v, want %v", in, got, want)
		}
	}
}

func TestReaderIsReusable(t *testing.T) {
	t.Parallel()
	var r page.Reader
	for range 2 {
		if got := r.Read([]byte(`<a href=a>`), "text/html", at).Links; len(got) != 1 {
			t.Errorf("Links = %q, want one", got)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`<base href=x><title>a</title><a href="b&amp;c">d</a><noscript><template></noscript></template>`), "text/html")
	f.Add([]byte("\xff\xfe<\x00a\x00"), "text/html; charset=utf-16")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		var r page.Reader
		d := r.Read(body, contentType, at)
		if d.Links == nil || d.TextLength < 0 || len(d.Title) > page.MaxTitle*3 {
			t.Errorf("Read = %d links, text %d, title of %d", len(d.Links), d.TextLength, len(d.Title))
		}
		seen := map[string]bool{}
		for _, u := range d.Links {
			if again, err := link.Parse(u); err != nil || again != u || seen[u] {
				t.Errorf("link %q is not canonical (%q, %v) or stands twice", u, again, err)
			}
			seen[u] = true
		}
	})
}

func BenchmarkRead(b *testing.B) {
	var doc bytes.Buffer
	doc.WriteString("<html><head><title>A class</title><style>p{color:red}</style></head><body>")
	for i := range 2000 {
		fmt.Fprintf(&doc, `<div class="row"><code><a href="../util/Class%d.html#m" title="class in java.util">Class%d</a></code>`+
			`<p class="text">Returns the element at the given position &amp; throws if there is <em>none</em>.</p></div>`+"\n", i%150, i)
	}
	var r page.Reader
	b.SetBytes(int64(doc.Len()))
	b.ReportAllocs()
	for b.Loop() {
		r.Read(doc.Bytes(), "text/html; charset=utf-8", at)
	}
}
