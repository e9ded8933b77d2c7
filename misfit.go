package faena

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// misfit says in words of JSON what of a value does not fit in root, the type
// that was to be decoded.
func misfit(bad *json.UnmarshalTypeError, root reflect.Type) error {
	field := fieldName(bad, root)
	if field == "" {
		return &misfitError{fmt.Sprintf("want %s, got %s", wanted(bad.Type, bad.Value, true), found(bad.Value))}
	}
	return &misfitError{fmt.Sprintf("field %q: want %s, got %s", field, wanted(bad.Type, bad.Value, false), found(bad.Value))}
}

// misfitError is an error that says where and what.
type misfitError struct{ text string }

func (e *misfitError) Error() string { return e.text }

// fieldName is the path to a field as JSON has it: embedded structs, which stand
// in the error's by their Go names, have no name there.
func fieldName(bad *json.UnmarshalTypeError, root reflect.Type) string {
	names := strings.Split(bad.Field, ".")
	t := indirect(root)
	kept := names[:0]
	for _, name := range names {
		for t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map {
			t = indirect(t.Elem())
		}
		if t.Kind() != reflect.Struct { // one that decodes itself
			kept = append(kept, name)
			continue
		}
		f, embedded := fieldOf(t, name)
		if !embedded {
			kept = append(kept, name)
		}
		t = indirect(f)
	}
	return strings.Join(kept, ".")
}

// fieldOf is the type of a struct's field by its name in JSON, and whether that
// is only the Go name of an embedded struct.
func fieldOf(t reflect.Type, name string) (of reflect.Type, embedded bool) {
	for f := range t.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == name, tag == "" && !f.Anonymous && f.Name == name:
			return f.Type, false
		case f.Anonymous && tag == "" && f.Name == name:
			return f.Type, true
		}
	}
	return reflect.TypeFor[any](), false
}

func indirect(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// wanted is what a type takes; of a whole object an example says more.
func wanted(t reflect.Type, got string, whole bool) string {
	t = indirect(t)
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a whole number of nanoseconds"
	case numeral(t):
		return "a number"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "text" + example(t)
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Struct, reflect.Map:
		if whole { // and only then: a type may hold itself
			if example := object(t); example != "" {
				return "an object such as " + example
			}
		}
		return "an object"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "text in base64"
		}
		return "a list"
	default:
	}
	return integer(t, got)
}

// numeral tells whether a type that is kept as text, or reads text, is a number in
// JSON, as json.Number and big.Int are.
func numeral(t reflect.Type) bool {
	if t == reflect.TypeFor[json.Number]() {
		return true
	}
	p := reflect.PointerTo(t)
	if !p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || !p.Implements(reflect.TypeFor[json.Marshaler]()) {
		return false
	}
	zero, err := json.Marshal(reflect.New(t).Interface())
	return err == nil && len(zero) > 0 && zero[0] >= '0' && zero[0] <= '9'
}

// example is one of a number that is text in JSON, such as a time, if there is one.
func example(t reflect.Type) string {
	v := reflect.New(t).Elem()
	m, ok := reflect.TypeAssert[encoding.TextMarshaler](v.Addr())
	if !ok || !v.CanInt() || v.OverflowInt(int64(90*time.Second)) {
		return ""
	}
	v.SetInt(int64(90 * time.Second))
	text, err := m.MarshalText()
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" such as %q", text)
}

// integer says which whole numbers fit, if one was given.
func integer(t reflect.Type, got string) string {
	var low, high string
	switch {
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		low, high = strconv.FormatInt(-1<<(t.Bits()-1), 10), strconv.FormatInt(1<<(t.Bits()-1)-1, 10)
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		low, high = "0", strconv.FormatUint(1<<t.Bits()-1, 10)
	default:
		return "another kind of value"
	}
	if n, ok := strings.CutPrefix(got, "number "); ok && !strings.ContainsAny(n, ".eE") {
		return fmt.Sprintf("a whole number from %s to %s", low, high)
	}
	return "a whole number"
}

// maxLiteral bounds how much of a value stands in an error.
const maxLiteral = 64

// found is what there was, by encoding/json's word for it.
func found(value string) string {
	kind, literal, _ := strings.Cut(value, " ")
	switch {
	case len(literal) > maxLiteral:
		return clip(literal, maxLiteral)
	case literal != "":
		return literal
	case kind == "string":
		return "text"
	case kind == "bool":
		return "true or false"
	case kind == "array":
		return "a list"
	case kind == "object":
		return "an object"
	}
	return "a " + kind
}

// object is an example of a struct: the fields that have to be there. It is empty
// where all may be left out.
func object(t reflect.Type) string {
	if t.Kind() != reflect.Struct {
		return ""
	}
	all := members(t)
	if len(all) == 0 {
		return ""
	}
	return "{" + strings.Join(all, ", ") + "}"
}

func members(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		tag := strings.Split(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag[0] == "" && f.Type.Kind() == reflect.Struct:
			out = append(out, members(f.Type)...)
		case !f.IsExported(), tag[0] == "-", strings.Contains(f.Tag.Get("json"), ",omit"):
		case tag[0] == "":
			out = append(out, strconv.Quote(f.Name)+": "+sample(indirect(f.Type)))
		default:
			out = append(out, strconv.Quote(tag[0])+": "+sample(indirect(f.Type)))
		}
	}
	return out
}

// sample is a value that a type takes, cut short where it has values of its own.
func sample(t reflect.Type) string {
	if t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 {
		return "[" + scalar(indirect(t.Elem())) + "]"
	}
	return scalar(t)
}

func scalar(t reflect.Type) string {
	switch what := wanted(t, "", false); {
	case strings.HasPrefix(what, "text"):
		return `"…"`
	case what == "true or false":
		return "true"
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		return "1.5"
	case what == "a list":
		return "[…]"
	case what == "an object":
		return "{…}"
	case what == "another kind of value":
		return "null"
	}
	return "5"
}
