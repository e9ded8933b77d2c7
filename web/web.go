// Package web draws faena's pages: templates, style and script, embedded and
// complete, so that a page needs nothing from elsewhere. It decides nothing: what
// is shown, and to whom, is the gateway's part.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"path"
	"slices"
	"strings"
	"unicode"
)

//go:embed asset page text
var files embed.FS

// Pages are the parsed templates and the assets. Its methods may be called
// concurrently.
type Pages struct {
	pages  map[string]*template.Template
	assets map[string]Asset
	text   map[string]string
}

// Asset is a file that pages refer to.
type Asset struct {
	Name string
	Type string // its content type
	Tag  string // changes with the content
	Data []byte // not to be changed
}

// New reads what is embedded; an error means that this package was built wrong.
func New() (*Pages, error) {
	p := &Pages{pages: map[string]*template.Template{}, assets: map[string]Asset{}}
	if err := p.readText("en"); err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "asset/*")
	if err != nil {
		return nil, fmt.Errorf("list assets: %w", err)
	}
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read asset: %w", err)
		}
		sum := sha256.Sum256(b)
		short := path.Base(name)
		p.assets[short] = Asset{Name: short, Type: typeOf(short), Tag: hex.EncodeToString(sum[:6]), Data: b}
	}
	layout, err := template.New("layout.html").Funcs(p.funcs()).Option("missingkey=error").ParseFS(files, "page/layout.html", "page/part.html")
	if err != nil {
		return nil, fmt.Errorf("parse layout: %w", err)
	}
	names, err = fs.Glob(files, "page/*.html")
	if err != nil {
		return nil, fmt.Errorf("list pages: %w", err)
	}
	for _, name := range names {
		short := strings.TrimSuffix(path.Base(name), ".html")
		if slices.Contains([]string{"layout", "part"}, short) {
			continue
		}
		t, err := layout.Clone()
		if err == nil {
			t, err = t.ParseFS(files, name)
		}
		if err != nil {
			return nil, fmt.Errorf("parse page %s: %w", short, err)
		}
		p.pages[short] = t
	}
	return p, nil
}

// readText reads all that pages say in a language: text/en.json is the English,
// and another language is another such file.
func (p *Pages) readText(lang string) error {
	b, err := files.ReadFile("text/" + lang + ".json")
	if err != nil {
		return fmt.Errorf("read texts: %w", err)
	}
	if err := json.Unmarshal(b, &p.text); err != nil {
		return fmt.Errorf("read texts in %s: %w", lang, err)
	}
	return nil
}

func typeOf(name string) string {
	switch path.Ext(name) { // not from the machine's table, which may say anything
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}

// Asset finds an asset by its name.
func (p *Pages) Asset(name string) (Asset, bool) {
	a, ok := p.assets[name]
	return a, ok
}

// Draw gives the HTML of a page: home, tasks, runs, run, api or error, with the
// view of that name. An error leaves nothing half drawn.
func (p *Pages) Draw(page string, v View) ([]byte, error) {
	t := p.pages[page]
	if t == nil {
		return nil, fmt.Errorf("draw page: there is none named %q", page)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("draw page %s: %w", page, err)
	}
	return clean(b.Bytes()), nil
}

// clean makes a space of each character that could steer how the text around it is
// shown: templates have none, but what people give to runs may.
func clean(page []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && r != '\r' && unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, page)
}

// Text is what pages say for a key, with its arguments in place.
func (p *Pages) Text(key string, args ...any) (string, error) {
	s, ok := p.text[key]
	if !ok {
		return "", fmt.Errorf("no text for %q", key)
	}
	if len(args) == 0 {
		return s, nil
	}
	return fmt.Sprintf(s, args...), nil
}
