package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/faena-dev/faena"
)

// quality reads the weight among a media type's parameters.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(p), "="); ok && strings.EqualFold(k, "q") {
			if q, err := strconv.ParseFloat(v, 64); err == nil {
				return q
			}
		}
	}
	return 1
}

// wantJSON refuses a body that does not say it is JSON: a page of another site
// can send all other kinds without asking.
func wantJSON(r *http.Request) error {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err == nil && kind == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8")) {
		return nil
	}
	return &Problem{
		Status: http.StatusUnsupportedMediaType, Code: "content_type", Detail: fmt.Sprintf("the body's content type is %q", r.Header.Get("Content-Type")),
		Remedy: "send JSON, with the header Content-Type: application/json",
	}
}

// readBody reads a JSON object into v and refuses what v does not have.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, v content) error {
	if err := wantJSON(r); err != nil {
		return err
	}
	if r.ContentLength > g.opts.MaxBody {
		w.Header().Set("Connection", "close") // rather than read it all
		return g.tooLarge(r.ContentLength)
	}
	free, err := g.hold(r.ContentLength)
	if err != nil {
		return err
	}
	defer free()
	var b bytes.Buffer
	b.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
	if _, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, g.opts.MaxBody)); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return g.tooLarge(0)
		}
		return &Problem{Status: http.StatusBadRequest, Code: "body", Detail: "the body ended early: " + err.Error(), Remedy: "send it again"}
	}
	return decode(b.Bytes(), v)
}

// smallBody is what is read without asking for room; bodies above it share room
// for manyBodies of the largest.
const (
	smallBody  = 1 << 20
	manyBodies = 4
)

// hold takes room for a body: each may be as large as the limit, but many at a
// time would take all the memory there is.
func (g *Gateway) hold(size int64) (free func(), err error) {
	if size < 0 {
		size = g.opts.MaxBody // it is not told
	}
	if size <= smallBody {
		return func() {}, nil
	}
	if g.held.Add(size) > manyBodies*g.opts.MaxBody {
		g.held.Add(-size)
		return nil, &Problem{
			Status: http.StatusTooManyRequests, Code: string(faena.CodeLimit), Detail: "too many large bodies are being read at this time",
			Remedy: "send it again in a moment",
		}
	}
	return func() { g.held.Add(-size) }, nil
}

func (g *Gateway) tooLarge(size int64) error {
	what := "the body"
	if size > 0 {
		what = fmt.Sprintf("the body of %d bytes", size)
	}
	return &Problem{
		Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: fmt.Sprintf("%s is over the limit of %d", what, g.opts.MaxBody),
		Remedy: "send a smaller input, or store it elsewhere and send where it is",
	}
}

// noBody refuses a body that is not JSON where none is needed.
func noBody(r *http.Request) error {
	if r.Header.Get("Content-Type") != "" || r.ContentLength > 0 {
		return wantJSON(r)
	}
	return nil
}

// content is what a body holds, with an example of it.
type content interface{ example() string }

func decode(b []byte, v content) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return malformed("the body is empty", "send a JSON object, such as "+v.example())
	}
	if !utf8.Valid(b) {
		return malformed("the body is not UTF-8", "send the text encoded as UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return malformed("the body goes on after its JSON object, at "+place(b, d.InputOffset()), "send one JSON object")
		}
		if name := twice(b); name != "" {
			return malformed(name+" is there twice", "send it once")
		}
		return nil
	}
	if bad, ok := errors.AsType[*json.SyntaxError](err); ok {
		return malformed(fmt.Sprintf("the body is not JSON: %s, at %s", bad, place(b, bad.Offset)), "correct the JSON there and send it again")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return malformed("the body is not JSON: it ends in the middle", "send all of it")
	}
	if bad, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrongType(b, bad)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name, uerr := strconv.Unquote(field)
		if uerr != nil {
			name = field
		}
		return wrong("body."+name, "there is no such field", "remove it, or see /api/v1/openapi.json for how it is written")
	}
	return malformed("the body does not decode: "+err.Error(), "see /api/v1/openapi.json")
}

func malformed(detail, remedy string) error {
	return &Problem{Status: http.StatusBadRequest, Code: "json", Detail: detail, Remedy: remedy}
}

// maxValue bounds how much of a value stands in an error.
const maxValue = 64

func wrongType(b []byte, bad *json.UnmarshalTypeError) error {
	if bad.Field == "" {
		return wrong("body", "want an object, got "+found(bad.Value), "send a JSON object")
	}
	// a field of an embedded struct is named with that struct, which JSON has not
	field := strings.TrimPrefix(bad.Field, "settings.")
	if field == "tags" && bad.Type.Kind() == reflect.String {
		field += badTag(b)
	}
	return wrong("body."+field, fmt.Sprintf("want %s, got %s", kindName(bad.Type), found(bad.Value)), "send a value of that type")
}

// found is what there was, by encoding/json's word for it.
func found(value string) string {
	kind, literal, _ := strings.Cut(value, " ")
	switch {
	case len(literal) > maxValue:
		return literal[:maxValue] + "..." // a number: there is nothing to be cut in the middle
	case literal != "":
		return literal
	case kind == "array":
		return "a list"
	case kind == "object":
		return "an object"
	case kind == "string":
		return "text"
	case kind == "bool":
		return "true or false"
	}
	return "a " + kind
}

// kindName is what JSON calls values of a type.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Pointer:
		return kindName(t.Elem())
	default:
		return "a whole number"
	}
}

// wrong says that one value of a request is not what is wanted there.
func wrong(location, message, remedy string) error {
	p := &Problem{
		Status: http.StatusUnprocessableEntity, Code: "invalid", Detail: location + ": " + message, Remedy: remedy,
		Errors: []Fault{{Location: location, Message: message}},
	}
	if location == "query" || strings.HasPrefix(location, "query.") {
		p.Status = http.StatusBadRequest
	}
	return p
}

// place is an offset as people count: line and column.
func place(b []byte, offset int64) string {
	before := b[:min(max(offset-1, 0), int64(len(b)))]
	return fmt.Sprintf("line %d, column %d", bytes.Count(before, []byte("\n"))+1, len(before)-bytes.LastIndexByte(before, '\n'))
}

// spans matches what is written as a time, however long.
var spans = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`)

// readDuration reads a time such as 90s; the empty string is none.
func readDuration(location, s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	switch {
	case err == nil && d >= 0:
		return d, nil
	case err == nil:
		return 0, wrong(location, fmt.Sprintf("%q is negative", s), "send 0s or more")
	case spans.MatchString(s):
		return 0, wrong(location, fmt.Sprintf("%q is too long", s), "send at most 876000h, which is 100 years")
	}
	return 0, wrong(location, fmt.Sprintf("%q is not a time that can be waited", s), `write it with its unit, such as "90s" or "1h30m"`)
}

func readTime(location, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, wrong(location, fmt.Sprintf("%q is not a date and time", s), `write it as in RFC 3339, such as "2030-01-31T15:04:05Z"`)
	}
	return t, nil
}
