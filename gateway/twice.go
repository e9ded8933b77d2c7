package gateway

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// twice names a field of a body, or one of its tags, that is there twice, and is
// empty if there is none: which of two was meant nobody can say. b is an object in
// JSON; what inputs hold is their tasks' matter.
func twice(b []byte) string {
	fields, tags := map[string]bool{}, map[string]bool{}
	field, depth := "", 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			begin := i
			i = closing(b, i)
			if depth > 2 || depth == 2 && field != "tags" || !isKey(b[i+1:]) {
				continue
			}
			var key string
			if json.Unmarshal(b[begin:i+1], &key) != nil {
				continue // it was read before
			}
			seen, name := tags, "tag "+key
			if depth == 1 {
				key = strings.ToLower(key) // as fields are told apart
				seen, name, field = fields, key, key
			}
			if seen[key] {
				return name
			}
			seen[key] = true
		}
	}
	return ""
}

// closing is where the string ends that begins at i.
func closing(b []byte, i int) int {
	for i++; i < len(b)-1 && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i
}

// isKey tells whether what follows a string makes it one.
func isKey(after []byte) bool {
	after = bytes.TrimLeft(after, " \t\r\n")
	return len(after) > 0 && after[0] == ':'
}

// badTag names, as part of a place in the body, the first tag that is no string.
func badTag(b []byte) string {
	var body struct {
		Tags map[string]json.RawMessage `json:"tags"`
	}
	if json.Unmarshal(b, &body) != nil {
		return ""
	}
	for _, key := range slices.Sorted(maps.Keys(body.Tags)) {
		if v := body.Tags[key]; len(v) > 0 && v[0] != '"' && string(v) != "null" {
			return "." + key
		}
	}
	return ""
}
