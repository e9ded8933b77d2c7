package crawl

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/faena-dev/faena/tasks/scrape/frontier"
	"github.com/faena-dev/faena/tasks/scrape/link"
)

// Defaults and fixed bounds.
const (
	DefaultConcurrency = 8
	DefaultTotal       = 64
	DefaultMaxPages    = 1_000_000
	DefaultMaxBytes    = 10 << 20
	DefaultTimeout     = 30 * time.Second
	DefaultRetries     = 2
	DefaultUserAgent   = "faena/dev (+https://github.com/faena-dev/faena)"

	// MaxHops is how many redirects are followed one after the other.
	MaxHops = 10
	// MaxCrawlDelay is the longest crawl-delay of a robots.txt that is kept to.
	MaxCrawlDelay = 30 * time.Second
	// MaxRetryAfter is the longest Retry-After that is waited for. What asks
	// for more is recorded as failed.
	MaxRetryAfter = 2 * time.Minute
)

var (
	// ErrInvalid is in the chain of errors about Options.
	ErrInvalid = errors.New("invalid crawl")
	// ErrUnreachable says that no start address gave an answer.
	ErrUnreachable = errors.New("cannot be reached")
	// ErrRobots says that robots.txt forbids the start address.
	ErrRobots = errors.New("forbidden by robots.txt")
	// ErrElsewhere says that the start address redirects to a host that was
	// not asked for.
	ErrElsewhere = errors.New("redirects to another host")
)

// A Duration is a time.Duration that is text in JSON, as in "1.5s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("want a time such as \"1.5s\", got %q", text)
	}
	*d = Duration(v)
	return nil
}

// UnmarshalJSON implements json.Unmarshaler: its error, unlike one of
// UnmarshalText, comes to name the field.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text *string
	err := json.Unmarshal(b, &text)
	if err == nil && text != nil {
		err = d.UnmarshalText([]byte(*text))
	}
	if err == nil {
		return nil
	}
	value := "value " + string(b)
	switch b[0] {
	case '{':
		value = "object"
	case '[':
		value = "array"
	}
	return &json.UnmarshalTypeError{Value: value, Type: reflect.TypeFor[Duration]()}
}

// Options say what to crawl and how. Start is needed; the zero value of every
// other field means its default.
type Options struct {
	// Start holds the addresses to begin with. Their hosts are crawled, and are
	// the only ones that may have private addresses.
	Start []string `json:"start"`
	// Depth is how many links away from a start address pages may be. A
	// redirect is no link. With a depth the pages are fetched level by level,
	// so that the set of pages is always the same. Default: 0, no limit;
	// negative: the start addresses only.
	Depth int `json:"depth,omitempty"`
	// Concurrency is the number of requests to one host at a time. Default: 8.
	Concurrency int `json:"concurrency,omitempty"`
	// Total is the number of requests at a time. Default: 64.
	Total int `json:"total,omitempty"`
	// Delay is the least time between the starts of two requests to one host.
	// A longer crawl-delay in robots.txt counts, up to MaxCrawlDelay.
	// Default: 0.
	Delay Duration `json:"delay,omitempty"`
	// MaxPages ends the crawl's growth: no more addresses than this are ever
	// fetched or recorded. Default: 1,000,000.
	MaxPages int `json:"max_pages,omitempty"`
	// MaxBytes is how much of a page is read, after decompression. What a
	// longer page begins with is used, and marked truncated. Default: 10 MiB.
	MaxBytes int64 `json:"max_bytes,omitempty"`
	// Timeout bounds one request from the connection to the last byte.
	// Default: 30 s.
	Timeout Duration `json:"timeout,omitempty"`
	// Retries is how often a request is repeated after 429, most of 5xx and
	// errors of the network. Default: 2; negative: never.
	Retries int `json:"retries,omitempty"`
	// UserAgent is sent with every request. The letters it begins with are the
	// name that robots.txt files know. Default: DefaultUserAgent.
	UserAgent string `json:"user_agent,omitempty"`
	// Hosts are further hosts to crawl, as "example.com" or "example.com:8080".
	// Default: none.
	Hosts []string `json:"hosts,omitempty"`
	// AllHosts crawls every host that is linked. Default: false.
	AllHosts bool `json:"all_hosts,omitempty"`
	// AllowPrivate permits private, loopback and other special addresses for
	// all hosts. Default: false.
	AllowPrivate bool `json:"allow_private,omitempty"`
	// IgnoreRobots fetches no robots.txt and heeds no robots meta element. For
	// sites of one's own. Default: false.
	IgnoreRobots bool `json:"ignore_robots,omitempty"`
}

// Normal returns the options with defaults filled in and addresses in canonical
// form, or an error that wraps ErrInvalid and says what to do.
func (o Options) Normal() (Options, error) {
	if len(o.Start) == 0 {
		return o, fmt.Errorf("%w: no start address: give one, as in https://example.com/", ErrInvalid)
	}
	start := make([]string, 0, len(o.Start))
	for _, s := range o.Start {
		u, err := link.Parse(s)
		if err != nil {
			return o, fmt.Errorf("%w: start address %q: %w", ErrInvalid, link.Shown(s), err)
		}
		if !slices.Contains(start, u) {
			start = append(start, u)
		}
	}
	o.Start = start
	hosts := make([]string, 0, len(o.Hosts))
	for _, h := range o.Hosts {
		u, err := link.Parse("http://" + h)
		if err != nil || link.Target(u) != "/" {
			return o, fmt.Errorf("%w: host %q: give a name alone, as in example.com or example.com:8080", ErrInvalid, link.Shown(h))
		}
		hosts = append(hosts, link.Host(u))
	}
	o.Hosts = hosts
	for name, bad := range map[string]bool{
		"concurrency": o.Concurrency < 0, "total": o.Total < 0, "delay": o.Delay < 0,
		"max_pages": o.MaxPages < 0, "max_bytes": o.MaxBytes < 0, "timeout": o.Timeout < 0,
	} {
		if bad {
			return o, fmt.Errorf("%w: %s is negative: give a number above zero, or leave it out", ErrInvalid, name)
		}
	}
	if strings.ContainsAny(o.UserAgent, "\r\n") {
		return o, fmt.Errorf("%w: user_agent has a line end: give one line", ErrInvalid)
	}
	o.Concurrency = or(o.Concurrency, DefaultConcurrency)
	o.Total = or(o.Total, DefaultTotal)
	o.MaxPages = or(o.MaxPages, DefaultMaxPages)
	o.MaxBytes = or(o.MaxBytes, DefaultMaxBytes)
	o.Timeout = or(o.Timeout, Duration(DefaultTimeout))
	o.UserAgent = or(o.UserAgent, DefaultUserAgent)
	o.Retries = max(or(o.Retries, DefaultRetries), -1)
	return o, nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Limit returns the bounds of the crawl's frontier.
func (o Options) Limit() frontier.Limit {
	return frontier.Limit{Depth: o.Depth, Pages: or(o.MaxPages, DefaultMaxPages)}
}

// A Scope decides which of the addresses that a page names are to be fetched.
type Scope struct {
	hosts  map[string]struct{}
	all    bool
	robots bool
}

// NewScope returns the scope of normal options, see Options.Normal.
func NewScope(o Options) Scope {
	s := Scope{hosts: make(map[string]struct{}), all: o.AllHosts, robots: !o.IgnoreRobots}
	maps.Copy(s.hosts, startHosts(o))
	for _, h := range o.Hosts {
		s.hosts[h] = struct{}{}
	}
	return s
}

func startHosts(o Options) map[string]struct{} {
	hosts := make(map[string]struct{})
	for _, u := range o.Start {
		hosts[link.Host(u)] = struct{}{}
	}
	return hosts
}

// Has reports whether an address in canonical form is in scope.
func (s Scope) Has(url string) bool {
	if s.all {
		return true
	}
	_, ok := s.hosts[link.Host(url)]
	return ok
}

// Found returns what a fetched page gives the frontier: the target of its
// redirect, or its links, as far as they are in scope.
func (s Scope) Found(p *Page) []frontier.Item {
	if p.Redirect != "" {
		if p.Hops >= MaxHops || !s.Has(p.Redirect) {
			return nil
		}
		return []frontier.Item{{URL: p.Redirect, Depth: p.Depth, Hops: p.Hops + 1, Referrer: p.URL}}
	}
	if p.NoFollow && s.robots {
		return nil
	}
	items := make([]frontier.Item, 0, len(p.Links))
	for _, u := range p.Links {
		if s.Has(u) {
			items = append(items, frontier.Item{URL: u, Depth: p.Depth + 1, Referrer: p.URL})
		}
	}
	return items
}
