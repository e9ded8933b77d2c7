package crawl

import (
	"context"
	"time"

	"github.com/faena-dev/faena/tasks/scrape/frontier"
	"github.com/faena-dev/faena/tasks/scrape/link"
)

// A Client fetches batches, for a crawl whose frontier lies elsewhere, as in a
// parent run whose children fetch. Between batches it keeps connections, for
// some 30 s, and robots.txt files. It may be used concurrently.
type Client struct{ fetch *fetcher }

// NewClient returns a Client, or an error that wraps ErrInvalid.
func NewClient(o Options, n Net) (*Client, error) {
	o, err := o.Normal()
	if err != nil {
		return nil, err
	}
	return &Client{newFetcher(o, n)}, nil
}

// Close ends the connections that are idle. It waits for nothing, and the Client
// can still be used.
func (c *Client) Close() { c.fetch.close() }

// Fetched is what came of a batch.
type Fetched struct {
	// Pages are in the order of the items.
	Pages []Page
	// Delay is the longest time that the hosts want between requests: to be
	// waited for before the next batch.
	Delay time.Duration
}

// Fetch fetches the items and follows nothing. The pages come with their links,
// one for each different address, so that Scope.Found gives what they add. The
// limits of a host and retries hold within one call. The function page, unless it
// is nil, is told of each page as it finishes. When ctx ends, the pages that
// finished are returned with its error.
func (c *Client) Fetch(ctx context.Context, items []frontier.Item, page func(Page)) (Fetched, error) {
	o := c.fetch.opt
	o.Total = min(o.Total, max(len(items), 1))
	front := frontier.New(frontier.Limit{})
	order := make(map[string]int, len(items))
	for _, it := range items {
		if front.Add(it) {
			order[it.URL] = len(order)
		}
	}
	got := make([]Page, len(order))
	done := make([]bool, len(order))
	e := newEngine(o, c.fetch, front, Hooks{Page: func(p Page) {
		i := order[p.URL]
		got[i], done[i] = p, true
		if page != nil {
			page(p)
		}
	}})
	for _, it := range items {
		if d, ok := c.fetch.robots.known(link.Origin(it.URL)); ok {
			e.sched.know(link.Host(it.URL), max(d, time.Duration(o.Delay)))
		}
	}
	_, err := e.run(ctx)
	out := Fetched{Pages: got[:0]}
	for i, p := range got {
		if done[i] {
			out.Pages = append(out.Pages, p)
		}
	}
	for _, h := range e.sched.hosts {
		out.Delay = max(out.Delay, h.delay)
	}
	return out, err
}
