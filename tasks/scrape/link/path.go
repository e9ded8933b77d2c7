package link

import "strings"

const upperHex = "0123456789ABCDEF"

// appendTarget appends the canonical path and query of ref, which begins with
// a slash or a question mark, is empty, or is relative to the directory dir. A
// dir is canonical and begins and ends with a slash.
func appendTarget(b []byte, dir, ref string) []byte {
	path, query := ref, ""
	if i := strings.IndexByte(ref, '?'); i >= 0 {
		path, query = ref[:i], ref[i:]
	}
	start := len(b)
	b = append(b, dir...)
	if dir == "" && (path == "" || !slash(path[0])) {
		b = append(b, '/')
	}
	if !plain(path) {
		b = appendPath(b, path)
		b = b[:start+removeDots(b[start:])]
		return appendQuery(b, query)
	}
	b = append(b, path...)
	if strings.Contains(path, "/.") || path != "" && path[0] == '.' {
		b = b[:start+removeDots(b[start:])]
	}
	return appendQuery(b, query)
}

// plain reports whether a path is canonical already, but for dot segments.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; !unreserved(c) && c != '/' {
			return false
		}
	}
	return true
}

func appendPath(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if v, ok := hexAt(s, i); ok {
			i += 2
			if unreserved(v) {
				b = append(b, v)
			} else {
				b = appendHex(b, v)
			}
			continue
		}
		switch {
		case c == '\\':
			b = append(b, '/')
		case unreserved(c) || c == '/' || strings.IndexByte("!$&'()*+,;=:@[]", c) >= 0:
			b = append(b, c)
		default:
			b = appendHex(b, c)
		}
	}
	return b
}

func appendQuery(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' {
			b = appendHex(b, c)
		} else {
			b = append(b, c)
		}
	}
	return b
}

// removeDots resolves "." and ".." segments of a path in place (RFC 3986,
// 5.2.4) and returns the new length.
func removeDots(p []byte) int {
	w := 0
	for r := 0; r < len(p); {
		// p[r] is a slash here, and a segment runs to the next one.
		end := r + 1
		for end < len(p) && p[end] != '/' {
			end++
		}
		seg := p[r+1 : end]
		last := end == len(p)
		switch {
		case len(seg) == 1 && seg[0] == '.':
		case len(seg) == 2 && seg[0] == '.' && seg[1] == '.':
			for w > 0 {
				w--
				if p[w] == '/' {
					break
				}
			}
		default:
			w += copy(p[w:], p[r:end])
			last = false
		}
		if last { // a dot segment at the end leaves its slash
			p[w] = '/'
			w++
		}
		r = end
	}
	return w
}

func appendHex(b []byte, c byte) []byte {
	return append(b, '%', upperHex[c>>4], upperHex[c&15])
}

// hexAt decodes a percent-encoded octet at s[i:].
func hexAt(s string, i int) (byte, bool) {
	if s[i] != '%' || i+2 >= len(s) {
		return 0, false
	}
	hi, ok1 := nibble(s[i+1])
	lo, ok2 := nibble(s[i+2])
	return hi<<4 | lo, ok1 && ok2
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func unreserved(c byte) bool {
	return alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
