package scrape

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/scrape/crawl"
	"github.com/faena-dev/faena/tasks/scrape/frontier"
)

// maxClients is how many crawls a process remembers connections and robots.txt
// files of.
const maxClients = 16

// fetcher has the handler of Fetch.
type fetcher struct {
	net crawl.Net

	mu      sync.Mutex
	clients map[string]*client // by their options
	uses    int
}

type client struct {
	*crawl.Client
	used int // by fetcher.uses
}

// client is the one of a crawl's options. What has not been used for longest is
// forgotten.
func (f *fetcher) client(o crawl.Options) (*crawl.Client, error) {
	key, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.uses++
	if c := f.clients[string(key)]; c != nil {
		c.used = f.uses
		return c.Client, nil
	}
	c, err := crawl.NewClient(o, f.net)
	if err != nil {
		return nil, err
	}
	f.clients[string(key)] = &client{c, f.uses}
	if len(f.clients) > maxClients {
		oldest := ""
		for k, c := range f.clients {
			if oldest == "" || c.used < f.clients[oldest].used {
				oldest = k
			}
		}
		f.clients[oldest].Close()
		delete(f.clients, oldest)
	}
	return c, nil
}

// fetch is the handler of Fetch.
func (f *fetcher) fetch(ctx context.Context, b Batch) (Fetched, error) {
	c, err := f.client(b.Options)
	if err != nil {
		return Fetched{}, faena.Permanent(err)
	}
	var before Fetched // by an attempt that was cut off
	if _, err := faena.Resume(ctx, &before); err != nil {
		return Fetched{}, err
	}
	pages := make(map[string]crawl.Page, len(before.Pages))
	for _, p := range before.Pages {
		pages[p.URL] = p
	}
	missing := make([]frontier.Item, 0, len(b.Items))
	for _, it := range b.Items {
		if _, ok := pages[it.URL]; !ok {
			missing = append(missing, it)
		}
	}
	done := len(b.Items) - len(missing)
	got, err := c.Fetch(ctx, missing, func(p crawl.Page) {
		done++
		faena.Progress(ctx, float64(done)/float64(len(b.Items)), p.URL)
	})
	for _, p := range got.Pages {
		pages[p.URL] = p
	}
	out := Fetched{Pages: make([]crawl.Page, 0, len(b.Items)), Delay: max(crawl.Duration(got.Delay), before.Delay)}
	for _, it := range b.Items {
		if p, ok := pages[it.URL]; ok {
			out.Pages = append(out.Pages, p)
			delete(pages, it.URL) // if it is named twice
		}
	}
	if err != nil {
		if cerr := faena.Checkpoint(ctx, out); cerr != nil {
			faena.Logger(ctx).WarnContext(ctx, "pages of a batch that was cut off are not saved", "error", cerr)
		}
		return Fetched{}, fmt.Errorf("fetch %d pages: %w", len(missing), err)
	}
	return out, nil
}
