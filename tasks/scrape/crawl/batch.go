package crawl

import (
	"context"

	"github.com/faena-dev/faena/tasks/scrape/frontier"
)

// FetchBatch fetches the items and follows nothing: for a crawl whose frontier
// lies elsewhere, as in a parent run whose children fetch. The pages come in the
// order of the items, one for each different address, with their links, so that
// Scope.Found gives what they add. The limits of a host, robots.txt and retries
// hold within one call; Options.OmitLinks does not count. When ctx ends, the
// pages that finished are returned with its error.
func FetchBatch(ctx context.Context, o Options, items []frontier.Item, n Net) ([]Page, error) {
	o, err := o.Normal()
	if err != nil {
		return nil, err
	}
	o.OmitLinks = false
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
	e := newEngine(o, front, Hooks{Net: n, Page: func(p Page) {
		i := order[p.URL]
		got[i], done[i] = p, true
	}})
	_, err = e.run(ctx)
	pages := got[:0]
	for i, p := range got {
		if done[i] {
			pages = append(pages, p)
		}
	}
	return pages, err
}
