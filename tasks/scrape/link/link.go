// Package link brings web addresses to one canonical form, so that two
// spellings of the same page compare equal as strings.
//
// The canonical form has a lower-case scheme and host (international names in
// ASCII), no default port, no user name, no fragment, a path that begins with
// "/" and holds no dot segments, and percent-encoding in which unreserved
// characters stand for themselves and hexadecimal digits are upper case. The
// query is kept as it is, except that what may not stand in an address is
// percent-encoded. Reading follows the browsers' rules where they are laxer
// than RFC 3986: tabs and line ends vanish, a backslash in the path is a slash.
package link

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// MaxLen is the longest address in canonical form. Longer ones are refused:
// servers refuse them too, and only traps make them.
const MaxLen = 8192

var (
	errScheme = errors.New("not an http:// or https:// address: give it whole, as in https://example.com/docs/")
	errHost   = errors.New("no valid host name: give it whole, as in https://example.com/docs/")
	errPort   = errors.New("port out of range: give one from 1 to 65535, or leave it out")
	errUser   = errors.New("user name or password in the address: leave them out")
	errLong   = fmt.Errorf("longer than %d bytes: give a shorter one", MaxLen)
)

// Parse returns the canonical form of the absolute address raw. It refuses
// schemes other than http and https, and a user name or password, which would
// otherwise end up in every record. The error says what to do.
func Parse(raw string) (string, error) {
	ref := clean(raw)
	scheme, rest, ok := cutScheme(ref)
	if !ok {
		return "", errScheme
	}
	rest, ok = cutSlashes(rest)
	if !ok {
		return "", errHost
	}
	return absolute(scheme, rest, true)
}

// maxShown bounds how much of an address stands in an error.
const maxShown = 200

// Shown is an address, right or wrong, as an error may quote it: cut short, and
// without what may be a user name and password.
func Shown(raw string) string {
	from := 0
	if i := strings.Index(raw, "://"); i >= 0 {
		from = i + len("://")
	}
	end := from + len(raw[from:])
	if i := strings.IndexAny(raw[from:], `/\?#`); i >= 0 {
		end = from + i
	}
	at := strings.LastIndexByte(raw[from:end], '@')
	if _, port, ok := strings.Cut(raw[from:end], ":"); at < 0 && ok && strings.Trim(port, "0123456789") != "" {
		at = strings.LastIndexByte(raw[from:], '@') // no port: a password with a slash in it
	}
	if at >= 0 {
		raw = raw[:from] + "xxxxx" + raw[from+at:]
	}
	if len(raw) > maxShown {
		raw = strings.ToValidUTF8(raw[:maxShown], "") + "..."
	}
	return raw
}

// Origin returns the scheme, host and port of a canonical address, as in
// "https://example.com:8443": the scope of a robots.txt.
func Origin(canonical string) string {
	i := strings.Index(canonical, "://")
	if i < 0 {
		return ""
	}
	if j := strings.IndexByte(canonical[i+3:], '/'); j >= 0 {
		return canonical[:i+3+j]
	}
	return canonical
}

// Host returns the host of a canonical address, with its port if that is not
// 80 or 443: http://example.com and https://example.com are one host, while
// example.com:8080 is another. This is the scope of a crawl and of politeness.
func Host(canonical string) string {
	o := Origin(canonical)
	_, authority, _ := strings.Cut(o, "://")
	// http on 443 and https on 80 keep their port in the canonical form.
	for _, p := range []string{":80", ":443"} {
		if h, ok := strings.CutSuffix(authority, p); ok {
			return h
		}
	}
	return authority
}

// Target returns what a server is asked for: the path and query of a canonical
// address.
func Target(canonical string) string {
	return canonical[len(Origin(canonical)):]
}

// absolute builds the canonical form from what follows "scheme://".
func absolute(scheme, rest string, strict bool) (string, error) {
	end := strings.IndexAny(rest, `/\?`)
	authority, tail := rest, ""
	if end >= 0 {
		authority, tail = rest[:end], rest[end:]
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if strict {
			return "", errUser
		}
		authority = authority[at+1:]
	}
	host, port, err := splitPort(authority)
	if err != nil {
		return "", err
	}
	if host, err = canonicalHost(host); err != nil {
		return "", err
	}
	if port == "80" && scheme == "http" || port == "443" && scheme == "https" {
		port = ""
	}
	b := make([]byte, 0, len(scheme)+len(host)+len(tail)+12)
	b = append(b, scheme...)
	b = append(b, "://"...)
	b = append(b, host...)
	if port != "" {
		b = append(b, ':')
		b = append(b, port...)
	}
	return finish(appendTarget(b, "", tail))
}

func finish(b []byte) (string, error) {
	if len(b) > MaxLen {
		return "", errLong
	}
	return string(b), nil
}

// clean drops what browsers drop: control characters and blanks at the ends,
// tabs and line ends anywhere, and the fragment.
func clean(s string) string {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	if i := strings.IndexByte(s, '#'); i >= 0 {
		s = s[:i]
	}
	if strings.ContainsAny(s, "\t\n\r") {
		s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	}
	// What was dropped may have shielded a blank at the end.
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}

// cutScheme returns the lower-case http or https before the first colon. ok is
// false for other schemes and for none.
func cutScheme(s string) (scheme, rest string, ok bool) {
	i := schemeEnd(s)
	if i < 0 {
		return "", s, false
	}
	switch {
	case strings.EqualFold(s[:i], "http"):
		return "http", s[i+1:], true
	case strings.EqualFold(s[:i], "https"):
		return "https", s[i+1:], true
	}
	return "", s, false
}

// schemeEnd returns the index of the colon that ends a scheme of any name, or
// -1 if s begins with none.
func schemeEnd(s string) int {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		case i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'):
		case c == ':' && i > 0:
			return i
		default:
			return -1
		}
	}
	return -1
}

func cutSlashes(s string) (string, bool) {
	if len(s) < 2 || !slash(s[0]) || !slash(s[1]) {
		return s, false
	}
	return s[2:], true
}

func slash(c byte) bool { return c == '/' || c == '\\' }

func splitPort(authority string) (host, port string, err error) {
	host = authority
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || i < strings.LastIndexByte(authority, ']') {
		return host, "", nil
	}
	host, port = authority[:i], authority[i+1:]
	if port == "" {
		return host, "", nil
	}
	for _, c := range []byte(port) {
		if c < '0' || c > '9' {
			return "", "", errPort
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "", errPort
	}
	return host, strconv.FormatUint(n, 10), nil
}

func canonicalHost(h string) (string, error) {
	if strings.HasPrefix(h, "[") {
		a, err := netip.ParseAddr(strings.TrimSuffix(h[1:], "]"))
		if err != nil || !strings.HasSuffix(h, "]") || !a.Is6() || a.Zone() != "" {
			return "", errHost
		}
		return "[" + a.String() + "]", nil
	}
	if h == "" {
		return "", errHost
	}
	if plainHost(h) {
		return strings.ToLower(h), nil
	}
	if strings.IndexByte(h, '%') >= 0 {
		h = decodeHost(h)
	}
	a, err := idna.Lookup.ToASCII(h)
	if err != nil || !plainHost(a) {
		return "", errHost
	}
	return strings.ToLower(a), nil
}

// plainHost reports whether h needs no international treatment. Underscores
// are no part of host names, and yet in use.
func plainHost(h string) bool {
	if len(h) > 253 || h == "" || h[0] == '.' || strings.Contains(h, "..") {
		return false
	}
	for i := range len(h) {
		if c := h[i]; c != '-' && c != '.' && c != '_' && !alphanumeric(c) {
			return false
		}
	}
	return true
}

func decodeHost(h string) string {
	b := make([]byte, 0, len(h))
	for i := 0; i < len(h); i++ {
		if v, ok := hexAt(h, i); ok {
			b = append(b, v)
			i += 2
			continue
		}
		b = append(b, h[i])
	}
	return string(b)
}
