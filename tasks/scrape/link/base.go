package link

import "strings"

// A Base resolves the references of one page. It is made once per page, so that
// a reference costs one allocation. A Base may be used concurrently.
type Base struct {
	page   string // the canonical address
	origin string
	dir    string // from the first slash of the path to the last
	path   string // without the query
}

// NewBase returns the base of a canonical address, as Parse returns it.
func NewBase(canonical string) Base {
	origin := Origin(canonical)
	path, _, _ := strings.Cut(canonical[len(origin):], "?")
	return Base{
		page:   canonical,
		origin: origin,
		path:   path,
		dir:    path[:strings.LastIndexByte(path, '/')+1],
	}
}

// Resolve returns the canonical form of a reference as it stands in a page. ok
// is false for what cannot be fetched: mailto:, javascript: and other schemes,
// malformed hosts, addresses longer than MaxLen. A user name in the reference
// is dropped. A bare fragment resolves to the page itself.
func (b Base) Resolve(ref string) (canonical string, ok bool) {
	ref = clean(ref)
	if ref == "" {
		return b.page, b.page != ""
	}
	if schemeEnd(ref) >= 0 {
		scheme, rest, known := cutScheme(ref)
		if !known {
			return "", false
		}
		if rest, known = cutSlashes(rest); !known {
			return "", false
		}
		s, err := absolute(scheme, rest, false)
		return s, err == nil
	}
	if rest, double := cutSlashes(ref); double {
		scheme, _, _ := strings.Cut(b.origin, "://")
		s, err := absolute(scheme, rest, false)
		return s, err == nil
	}
	buf := make([]byte, 0, len(b.origin)+len(b.dir)+len(ref)+8)
	buf = append(buf, b.origin...)
	switch {
	case slash(ref[0]):
		buf = appendTarget(buf, "", ref)
	case ref[0] == '?':
		buf = appendQuery(append(buf, b.path...), ref)
	default:
		buf = appendTarget(buf, b.dir, ref)
	}
	s, err := finish(buf)
	return s, err == nil
}
