// Package robots reads robots.txt files (RFC 9309) and answers whether a crawler
// may fetch an address.
//
// Beyond the RFC it reads crawl-delay, accepts a missing colon and a byte order
// mark, as other crawlers do, and cuts lines at 16 KiB.
package robots

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxSize is how much of a file Parse reads; the RFC asks for at least this.
const MaxSize = 500 << 10

const maxLine = 16 << 10

// Rules are what one robots.txt says to one crawler. The zero value allows
// everything. Rules may be used concurrently.
type Rules struct {
	rules []rule
	delay time.Duration
	deny  bool
}

type rule struct {
	pattern string // canonical, see canonical
	allow   bool
	end     bool // the pattern must match to the end
	wild    bool
}

// DenyAll returns rules that allow nothing: what the RFC demands where a
// robots.txt cannot be reached.
func DenyAll() *Rules { return &Rules{deny: true} }

// Token returns the product token of a User-Agent header, by which robots.txt
// files address a crawler: the letters, "-" and "_" it begins with.
func Token(userAgent string) string {
	for i := range len(userAgent) {
		if !tokenByte(userAgent[i]) {
			return userAgent[:i]
		}
	}
	return userAgent
}

// Parse reads what a robots.txt says to the crawler with this product token:
// all groups that name it, in any case, as one; else all groups for "*". It
// never fails, as lines it does not understand are skipped, and reads at most
// MaxSize bytes.
func Parse(file []byte, token string) *Rules {
	if len(file) > MaxSize {
		file = file[:MaxSize]
	}
	file = bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))
	p := parser{token: token}
	for len(file) > 0 {
		var line []byte
		if i := bytes.IndexAny(file, "\r\n"); i >= 0 {
			line, file = file[:i], file[i+1:]
		} else {
			line, file = file, nil
		}
		p.line(line)
	}
	if p.named {
		return &p.own
	}
	return &p.star
}

// Allowed reports whether the path and query of a canonical address may be
// fetched. The longest matching pattern decides, and allow wins a tie.
// /robots.txt itself is always allowed.
func (r *Rules) Allowed(target string) bool {
	if target == "/robots.txt" {
		return true
	}
	if r.deny {
		return false
	}
	if len(r.rules) == 0 {
		return true
	}
	target = canonical(target, false)
	best, allow := -1, true
	for i := range r.rules {
		ru := &r.rules[i]
		n := len(ru.pattern)
		if ru.end {
			n++
		}
		if n < best || n == best && (allow || !ru.allow) {
			continue
		}
		if ru.match(target) {
			best, allow = n, ru.allow
		}
	}
	return allow
}

// Delay returns the crawl-delay asked for, or zero. It is not bounded.
func (r *Rules) Delay() time.Duration { return r.delay }

type parser struct {
	token     string
	own, star Rules
	named     bool // some group names the token
	inRules   bool // the last line was a rule: a user-agent line begins a group
	toOwn     bool
	toStar    bool
}

func (p *parser) line(line []byte) {
	if len(line) > maxLine {
		line = line[:maxLine]
	}
	if i := bytes.IndexByte(line, '#'); i >= 0 {
		line = line[:i]
	}
	key, value, ok := cut(strings.TrimFunc(string(line), blank))
	if !ok {
		return
	}
	switch strings.ToLower(key) {
	case "user-agent":
		if p.inRules {
			p.inRules, p.toOwn, p.toStar = false, false, false
		}
		if value == "*" || strings.HasPrefix(value, "* ") {
			p.toStar = true
		} else if t := Token(value); t != "" && strings.EqualFold(t, p.token) {
			p.toOwn, p.named = true, true
		}
	case "allow", "disallow":
		p.inRules = true
		if value == "" {
			return
		}
		p.each(func(r *Rules) { r.rules = append(r.rules, newRule(value, len(key) == len("allow"))) })
	case "crawl-delay":
		p.inRules = true
		if s, err := strconv.ParseFloat(value, 64); err == nil && s > 0 {
			d := time.Duration(min(s*float64(time.Second), math.MaxInt64/2))
			p.each(func(r *Rules) { r.delay = max(r.delay, d) })
		}
	}
}

func (p *parser) each(f func(*Rules)) {
	if p.toOwn {
		f(&p.own)
	}
	if p.toStar {
		f(&p.star)
	}
}

// cut splits a line at its colon or, where there is none, at its only blank.
func cut(line string) (key, value string, ok bool) {
	if key, value, ok = strings.Cut(line, ":"); !ok {
		i := strings.IndexFunc(line, blank)
		if i < 0 {
			return "", "", false
		}
		key, value = line[:i], strings.TrimFunc(line[i:], blank)
		return key, value, strings.IndexFunc(value, blank) < 0
	}
	return strings.TrimFunc(key, blank), strings.TrimFunc(value, blank), true
}

func newRule(value string, allow bool) rule {
	r := rule{allow: allow}
	value, r.end = strings.CutSuffix(value, "$")
	r.pattern = canonical(value, true)
	r.wild = strings.IndexByte(r.pattern, '*') >= 0
	return r
}

func (r *rule) match(target string) bool {
	if !r.wild {
		return strings.HasPrefix(target, r.pattern) && (!r.end || len(target) == len(r.pattern))
	}
	// Taking each piece where it first occurs is enough, since a piece found
	// earlier leaves more for the rest. So the cost is bounded.
	rest := r.pattern
	first := true
	for {
		i := strings.IndexByte(rest, '*')
		piece := rest
		if i >= 0 {
			piece = rest[:i]
		}
		switch {
		case first:
			if !strings.HasPrefix(target, piece) {
				return false
			}
			target = target[len(piece):]
		case i < 0 && r.end:
			return strings.HasSuffix(target, piece)
		default:
			at := strings.Index(target, piece)
			if at < 0 {
				return false
			}
			target = target[at+len(piece):]
		}
		if i < 0 {
			return true
		}
		first = false
		rest = rest[i+1:]
	}
}

// canonical brings patterns and targets to one spelling: unreserved octets
// stand for themselves, all others that may not stand in an address are
// percent-encoded in upper case. A "*" or "$" of a target, and a "$" inside a
// pattern, is encoded, as it is no special character there.
func canonical(s string, pattern bool) string {
	if !needsWork(s, pattern) {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				i += 2
				if c = byte(v); unreserved(c) {
					b = append(b, c)
				} else {
					b = append(b, '%', hex[c>>4], hex[c&15])
				}
				continue
			}
		}
		if c > ' ' && c < 0x7f && c != '$' && (c != '*' || pattern) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func needsWork(s string, pattern bool) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' || c == '$' || c == '*' && !pattern {
			return true
		}
	}
	return false
}

func unreserved(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == '~' || tokenByte(c)
}

func tokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
}

func blank(r rune) bool { return r == ' ' || r == '\t' }
