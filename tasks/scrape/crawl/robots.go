package crawl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/faena-dev/faena/tasks/scrape/link"
	"github.com/faena-dev/faena/tasks/scrape/robots"
)

const (
	robotsKeep    = 24 * time.Hour   // RFC 9309, 2.4
	robotsRefusal = 10 * time.Minute // how long one that cannot be read forbids all
	robotsSilence = 10 * time.Second // how long a server that does not answer is not asked again
	robotsHops    = 5
	robotsCached  = 10_000
)

// noAnswerError says that a server did not answer at all, so that it is not its
// robots.txt that keeps anything out.
type noAnswerError struct{ err error }

func (e *noAnswerError) Error() string { return e.err.Error() }
func (e *noAnswerError) Unwrap() error { return e.err }

// robotsCache has the rules of each origin.
type robotsCache struct {
	f       *fetcher
	mu      sync.Mutex
	entries map[string]*robotsEntry
}

// robotsEntry is fetched under its lock, so that an origin is asked once.
type robotsEntry struct {
	mu    sync.Mutex
	rules *robots.Rules
	err   error
	until time.Time
}

func newRobotsCache(f *fetcher) *robotsCache {
	return &robotsCache{f: f, entries: make(map[string]*robotsEntry)}
}

// get returns the rules of an origin; fresh says that they were fetched just
// now. With an error and no rules a repeat may help; on the last attempt, or
// where none helps, the rules forbid everything, and are kept for a while.
func (c *robotsCache) get(ctx context.Context, origin string, last bool) (rules *robots.Rules, fresh bool, err error) {
	c.mu.Lock()
	e := c.entries[origin]
	if e == nil {
		for old := range c.entries {
			if len(c.entries) < robotsCached {
				break
			}
			delete(c.entries, old)
		}
		e = new(robotsEntry)
		c.entries[origin] = e
	}
	c.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rules != nil && time.Now().Before(e.until) {
		return e.rules, false, e.err
	}
	rules, again, err := c.f.robotsTxt(ctx, origin)
	switch {
	case err == nil:
		e.rules, e.err, e.until = rules, nil, time.Now().Add(robotsKeep)
	case again && !last || ctx.Err() != nil:
		return nil, true, err
	default:
		keep := robotsRefusal
		if _, silent := errors.AsType[*noAnswerError](err); silent {
			keep = robotsSilence
		}
		e.rules, e.err, e.until = robots.DenyAll(), err, time.Now().Add(keep)
	}
	return e.rules, true, e.err
}

// known is the delay that an origin's rules ask for, if they are here.
func (c *robotsCache) known(origin string) (time.Duration, bool) {
	c.mu.Lock()
	e := c.entries[origin]
	c.mu.Unlock()
	if e == nil || !e.mu.TryLock() { // locked while it is being fetched
		return 0, false
	}
	defer e.mu.Unlock()
	if e.rules == nil || !time.Now().Before(e.until) {
		return 0, false
	}
	return min(e.rules.Delay(), MaxCrawlDelay), true
}

// robotsTxt fetches the rules of an origin (RFC 9309, 2.3.1): an answer of 4xx
// allows everything; no answer or 5xx is an error.
func (f *fetcher) robotsTxt(ctx context.Context, origin string) (rules *robots.Rules, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.opt.Timeout))
	defer cancel()
	at := origin + "/robots.txt"
	for range robotsHops + 1 {
		resp, err := f.request(ctx, at)
		if err != nil {
			return nil, temporary(err), &noAnswerError{err}
		}
		rules, to, err := f.robotsAnswer(resp, at)
		_ = resp.Body.Close() // nothing was written
		if err != nil || rules != nil {
			return rules, err != nil, err
		}
		at = to
	}
	// Too many redirects: the RFC lets it count as unavailable.
	return new(robots.Rules), false, nil
}

func (f *fetcher) robotsAnswer(resp *http.Response, at string) (rules *robots.Rules, to string, err error) {
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		file, err := io.ReadAll(io.LimitReader(resp.Body, robots.MaxSize))
		if err != nil {
			return nil, "", err
		}
		return robots.Parse(file, token(f.opt)), "", nil
	case code >= 300 && code < 400:
		drain(resp)
		if to, ok := link.NewBase(at).Resolve(resp.Header.Get("Location")); ok && to != at {
			return nil, to, nil
		}
		return new(robots.Rules), "", nil
	case code == http.StatusTooManyRequests || code >= 500:
		drain(resp)
		return nil, "", fmt.Errorf("status %d", code)
	default:
		drain(resp)
		return new(robots.Rules), "", nil
	}
}
