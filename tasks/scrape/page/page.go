// Package page takes from an HTML page what a crawler wants: title, links and
// the amount of text. It reads tokens and builds no tree.
package page

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"

	"github.com/faena-dev/faena/tasks/scrape/link"
)

// MaxTitle is the length in bytes at which titles are cut.
const MaxTitle = 1024

// A Doc is what Read found in one page.
type Doc struct {
	Title string // blanks collapsed
	// Links holds the canonical address of every link, once each, in the order
	// of the page: a and area, frame and iframe, and a meta refresh. It is not
	// nil. Links inside noscript count, those inside template do not.
	Links []string
	// TextLength counts the characters of the visible text, a run of blanks as
	// one. Title, script, style, template and noscript are not text.
	TextLength int
	// NoFollow says that a robots meta element asks crawlers to leave the links.
	NoFollow bool
}

// A Reader reads pages one after the other, reusing its memory. The zero value
// is ready; it must not be used concurrently.
type Reader struct {
	seen map[string]struct{}
}

// maxSeen bounds the memory that a page with very many links leaves behind.
const maxSeen = 10_000

// Read reads an HTML page with this Content-Type header, found at the canonical
// address. The encoding is taken from the header, a byte order mark or a meta
// element, else guessed. Any input gives a Doc: there is no broken HTML.
func (r *Reader) Read(body []byte, contentType, address string) Doc {
	if r.seen == nil || len(r.seen) > maxSeen {
		r.seen = make(map[string]struct{})
	}
	clear(r.seen)
	s := scan{
		z:    html.NewTokenizer(bytes.NewReader(decode(body, contentType))),
		base: link.NewBase(address),
		seen: r.seen,
		doc:  Doc{Links: []string{}},
	}
	s.run()
	return s.doc
}

// decode returns body in UTF-8.
func decode(body []byte, contentType string) []byte {
	if strings.Contains(contentType, "utf-8") || strings.Contains(contentType, "UTF-8") {
		if !bytes.HasPrefix(body, []byte{0xfe, 0xff}) && !bytes.HasPrefix(body, []byte{0xff, 0xfe}) {
			return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
		}
	}
	enc, name, certain := charset.DetermineEncoding(body[:min(len(body), 1024)], contentType)
	if name == "utf-8" || !certain && utf8.Valid(body) {
		return bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	}
	if out, err := enc.NewDecoder().Bytes(body); err == nil {
		return out
	}
	return body
}

type scan struct {
	z    *html.Tokenizer
	base link.Base
	seen map[string]struct{}
	doc  Doc

	based    bool
	titled   bool
	inTitle  bool
	hidden   int  // depth of template and noscript elements
	template int  // depth of template elements
	raw      bool // inside script, style and the like
	blank    bool // the last character of the text was a blank

	buf [12]byte // the tag's name: longer ones are of no interest, however cut
}

func (s *scan) run() {
	s.blank = true
	for {
		switch s.z.Next() {
		case html.ErrorToken:
			s.doc.Title = strings.ToValidUTF8(s.doc.Title, "\uFFFD")
			if s.blank && s.doc.TextLength > 0 {
				s.doc.TextLength-- // the blank at the end
			}
			return
		case html.TextToken:
			s.text()
		case html.StartTagToken, html.SelfClosingTagToken:
			s.start()
		case html.EndTagToken:
			s.end()
		case html.CommentToken, html.DoctypeToken:
		}
	}
}

func (s *scan) text() {
	switch {
	case s.inTitle:
		s.inTitle = false
		s.titled = true
		s.doc.Title = title(string(s.z.Text()))
	case s.raw || s.hidden > 0:
	default:
		s.count(s.z.Raw())
	}
}

// count adds a piece of text, with an entity as one character: unescaping all
// text would cost more than all the rest.
func (s *scan) count(t []byte) {
	n, blank := 0, s.blank
	for i := 0; i < len(t); {
		c := t[i]
		switch {
		case c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f':
			if !blank {
				n++
			}
			blank = true
			i++
			continue
		case c == '&':
			i += entity(t[i:])
		case c < utf8.RuneSelf:
			i++
		default:
			_, size := utf8.DecodeRune(t[i:])
			i += size
		}
		n++
		blank = false
	}
	s.doc.TextLength += n
	s.blank = blank
}

// entity returns the length of the character reference that t begins with, or 1.
func entity(t []byte) int {
	for i := 1; i < len(t) && i < 32; i++ {
		c := t[i]
		switch {
		case c == ';' && i > 1:
			return i + 1
		case c == '#' && i == 1, c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		default:
			return 1
		}
	}
	return 1
}

// name returns the lower-case name of the tag, which begins at offset from in
// its raw text: Tokenizer.TagName allocates, and most tags are of no interest.
func (s *scan) name(from int) []byte {
	raw := s.z.Raw()
	n := 0
	for _, c := range raw[min(from, len(raw)):] {
		if c <= ' ' || c == '/' || c == '>' || n == len(s.buf) {
			break
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		s.buf[n] = c
		n++
	}
	return s.buf[:n]
}

func (s *scan) start() {
	name := s.name(1)
	switch string(name) {
	case "a", "area":
		s.link("href")
	case "frame", "iframe":
		s.raw = name[0] == 'i'
		s.link("src")
	case "base":
		if href, ok := s.attr("href"); ok && !s.based {
			s.based = true
			if u, ok := s.base.Resolve(href); ok {
				s.base = link.NewBase(u)
			}
		}
	case "meta":
		s.meta()
	case "title":
		s.inTitle = !s.titled && s.template == 0
		s.raw = true
	case "script", "style", "xmp", "plaintext", "noembed":
		s.raw = name[0] == 's' || name[0] == 'n'
	case "noframes":
		s.z.NextIsNotRawText()
	case "noscript":
		// Without scripts this part is the page, so its links count.
		s.z.NextIsNotRawText()
		s.hidden++
	case "template":
		s.hidden++
		s.template++
	case "p", "div", "br", "li", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "dt", "dd", "pre", "hr", "option":
		s.gap()
	}
}

func (s *scan) end() {
	switch string(s.name(2)) {
	case "title", "script", "style", "iframe", "noembed":
		s.raw, s.inTitle = false, false
	case "noscript":
		s.hidden = max(s.hidden-1, s.template)
	case "template":
		if s.template > 0 {
			s.template--
			s.hidden--
		}
	case "p", "div", "li", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "dt", "dd", "pre", "option":
		s.gap()
	}
}

// gap parts the words of two blocks that no blank parts.
func (s *scan) gap() {
	if !s.blank {
		s.doc.TextLength++
		s.blank = true
	}
}

func (s *scan) attr(name string) (value string, ok bool) {
	for more := true; more; {
		var k, v []byte
		k, v, more = s.z.TagAttr()
		if string(k) == name || name == "href" && string(k) == "xlink:href" {
			return string(v), true
		}
	}
	return "", false
}

func (s *scan) link(attr string) {
	if href, ok := s.attr(attr); ok {
		s.add(href)
	}
}

func (s *scan) add(ref string) {
	if s.template > 0 {
		return
	}
	u, ok := s.base.Resolve(ref)
	if !ok {
		return
	}
	if _, dup := s.seen[u]; dup {
		return
	}
	s.seen[u] = struct{}{}
	s.doc.Links = append(s.doc.Links, u)
}

// meta reads a refresh, which is a link, and the crawlers' nofollow.
func (s *scan) meta() {
	var equiv, name, content string
	for more := true; more; {
		var k, v []byte
		k, v, more = s.z.TagAttr()
		switch string(k) {
		case "http-equiv":
			equiv = string(v)
		case "name":
			name = string(v)
		case "content":
			content = string(v)
		}
	}
	switch {
	case strings.EqualFold(equiv, "refresh"):
		if u, ok := refresh(content); ok {
			s.add(u)
		}
	case strings.EqualFold(name, "robots"):
		for word := range strings.SplitSeq(strings.ToLower(content), ",") {
			word = strings.TrimSpace(word)
			s.doc.NoFollow = s.doc.NoFollow || word == "nofollow" || word == "none"
		}
	}
}

// refresh returns the address of `5; url='next.html'`.
func refresh(content string) (string, bool) {
	i := strings.IndexAny(content, ";,")
	if i < 0 {
		return "", false
	}
	rest := strings.TrimSpace(content[i+1:])
	if len(rest) >= 3 && strings.EqualFold(rest[:3], "url") {
		after, ok := strings.CutPrefix(strings.TrimSpace(rest[3:]), "=")
		if !ok {
			return "", false
		}
		rest = strings.TrimSpace(after)
	}
	if rest != "" && (rest[0] == '\'' || rest[0] == '"') {
		quote := rest[0]
		rest = rest[1:]
		if j := strings.IndexByte(rest, quote); j >= 0 {
			rest = rest[:j]
		}
	}
	return rest, rest != ""
}

// title collapses blanks and cuts at MaxTitle, between characters.
func title(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= MaxTitle {
		return s
	}
	n := MaxTitle
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
