package crawl

import (
	"bytes"
	"encoding/json"
)

// Why an address was not fetched.
const (
	SkippedRobots  = "robots"          // robots.txt forbids it, or its server fails to give it
	SkippedPrivate = "private_address" // see Options.AllowPrivate
	SkippedHost    = "other_host"      // the redirect's target lies outside the crawl
)

// A Page is the record of one address: every address that was claimed has
// exactly one.
type Page struct {
	URL string `json:"url"`
	// Status is that of the last answer, and 0 if there was none.
	Status int `json:"status"`
	// Depth is the number of links followed from a start address. Without a
	// limit of depth it is that of the way found first.
	Depth int `json:"depth"`
	// Hops is the number of redirects that led here from the last link.
	Hops  int    `json:"hops,omitempty"`
	Title string `json:"title"`
	// LinkCount is the number of different addresses linked.
	LinkCount int `json:"link_count"`
	// Links are these addresses in canonical form, in the order of the page,
	// of whatever host. Only HTML pages with a status of 2xx have them.
	Links []string `json:"links,omitzero"`
	// TextLength is the number of characters of visible text.
	TextLength  int    `json:"text_length"`
	ContentType string `json:"content_type,omitempty"`
	// Bytes is the length of the body after decompression, as far as it was
	// read. Only HTML is read; of other types it is what the server declares.
	Bytes int64 `json:"bytes"`
	// Truncated says that the page was longer than Options.MaxBytes.
	Truncated bool `json:"truncated,omitempty"`
	// NoFollow says that the page asks crawlers not to follow its links.
	NoFollow bool `json:"no_follow,omitempty"`
	// ElapsedMS is the time of the last request in milliseconds.
	ElapsedMS int64 `json:"elapsed_ms"`
	// Attempts counts the requests made for the page.
	Attempts int `json:"attempts"`
	// Referrer is the page where the address was found first.
	Referrer string `json:"referrer,omitempty"`
	// Redirect is where the server sends those who ask for this address. The
	// target has a record of its own if it is in scope.
	Redirect string `json:"redirect,omitempty"`
	// Skipped says why the address, or its redirect's target, was not fetched.
	Skipped string `json:"skipped,omitempty"`
	// Error says what went wrong below HTTP. A status of 404 is no error here.
	Error string `json:"error,omitempty"`
}

// AppendLine appends the page as one line of JSON.
func (p *Page) AppendLine(b []byte) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return b, err
	}
	return buf.Bytes(), nil
}
