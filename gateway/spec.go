package gateway

import (
	"encoding"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/faena-dev/faena"
)

// object is a JSON object.
type object = map[string]any

// openAPI serves the description of the API, made from the routes themselves so
// that it cannot say something else than they do.
func (g *Gateway) openAPI(w http.ResponseWriter, _ *http.Request) error {
	return ok(w, describe(g.opts.Version, g.routes))
}

func describe(version string, routes []Route) object {
	s := schemas{}
	paths := object{}
	for i := range routes {
		rt := &routes[i]
		if rt.Summary == "" {
			continue
		}
		item, there := paths[rt.Path].(object)
		if !there {
			item = object{}
			paths[rt.Path] = item
		}
		item[strings.ToLower(rt.Method)] = s.operation(rt)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "faena", "version": version,
			"description": "Durable background work. Errors are problem details (RFC 9457) with a code for programs and a remedy for people.",
		},
		"paths":      paths,
		"components": object{"schemas": s},
	}
}

// schemas are the named types met so far.
type schemas map[string]any

func (s schemas) operation(rt *Route) object {
	op := object{"summary": rt.Summary, "operationId": operationID(rt), "x-scope": string(rt.Scope)}
	var params []object
	for part := range strings.SplitSeq(rt.Path, "/") {
		if strings.HasPrefix(part, "{") {
			params = append(params, object{"name": strings.Trim(part, "{}"), "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, p := range rt.query {
		params = append(params, object{"name": p.Name, "in": "query", "description": p.Doc, "schema": object{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if rt.body != nil {
		op["requestBody"] = object{"required": true, "content": s.content("application/json", reflect.TypeOf(rt.body))}
	}
	status := rt.status
	if status == 0 {
		status = http.StatusOK
	}
	done := object{"description": http.StatusText(status)}
	switch {
	case rt.plain:
		done["content"] = object{"text/plain": object{"schema": object{"type": "string"}}}
	case rt.answer != nil:
		done["content"] = s.content("application/json", reflect.TypeOf(rt.answer))
	case status != http.StatusNoContent:
		done["content"] = object{"application/json": object{"schema": object{}}}
	}
	responses := object{strconv.Itoa(status): done}
	failed := s.content("application/problem+json", reflect.TypeFor[Problem]())
	for _, code := range rt.failures {
		responses[strconv.Itoa(code)] = object{"description": http.StatusText(code), "content": failed}
	}
	responses["default"] = object{"description": "an error", "content": failed}
	op["responses"] = responses
	return op
}

// operationID is a name for generated clients, such as post_runs_id_cancel.
func operationID(rt *Route) string {
	path := strings.TrimPrefix(rt.Path, "/api/v1")
	words := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("/{}:.", r) })
	return strings.Join(append([]string{strings.ToLower(rt.Method)}, words...), "_")
}

func (s schemas) content(kind string, t reflect.Type) object {
	return object{kind: object{"schema": s.of(t)}}
}

// of is the schema of a type as encoding/json writes it.
func (s schemas) of(t reflect.Type) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return s.of(t.Elem())
	case t == reflect.TypeFor[json.RawMessage]():
		return object{}
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[faena.State]():
		return object{"type": "string", "enum": faena.States()}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64, reflect.Float32:
		return object{"type": "number"}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.named(t)
	default:
		return object{"type": "integer"}
	}
}

func (s schemas) named(t reflect.Type) object {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	if _, there := s[name]; !there {
		props := object{}
		s[name] = props // a type may hold itself
		required := s.fields(t, props, nil)
		all := object{"type": "object", "properties": props}
		if required != nil {
			all["required"] = required
		}
		s[name] = all
	}
	return object{"$ref": "#/components/schemas/" + name}
}

func (s schemas) fields(t reflect.Type, props object, required []string) []string {
	for f := range t.Fields() {
		if f.Anonymous {
			required = s.fields(f.Type, props, required)
			continue
		}
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || name == "" {
			continue
		}
		p := s.of(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			p["description"] = doc
		}
		props[name] = p
		if !strings.Contains(opts, "omit") {
			required = append(required, name)
		}
	}
	return required
}
