package scrape

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/scrape/crawl"
	"github.com/faena-dev/faena/tasks/scrape/frontier"
	"github.com/faena-dev/faena/tasks/scrape/link"
)

// Bounds of a batch: pages, the bytes of their addresses, and the time they take
// where the host wants a delay between requests.
const (
	batchPages    = 50
	batchMinPages = 4
	batchBytes    = 128 << 10 // with what stands around them they fit in the run's own record
	batchTime     = 10 * time.Second
)

// crawler is one attempt of a crawl.
type crawler struct {
	node  *faena.Node
	id    faena.ID
	keep  faena.Option // of the batches
	opt   crawl.Options
	scope crawl.Scope
	most  int // batches under way

	state
	next int // the number of the next batch
	open []*batch

	began  time.Time // this attempt
	before int       // pages of earlier ones
	every  time.Duration
	save   time.Time // when the next checkpoint is due
}

// state is what follows from the batches that ended.
type state struct {
	front  *frontier.Frontier
	base   int          // all batches below ended
	ended  map[int]bool // and these
	sum    Summary
	starts map[string]*crawl.Page    // what the start addresses gave
	delay  map[string]crawl.Duration // of hosts that want one between requests
}

// batch is one that is under way.
type batch struct {
	n      int
	host   string
	items  []frontier.Item
	future *faena.Future[Fetched]
	again  bool // its run failed once
}

// crawl is the handler of Crawl.
func (h Options) crawl(ctx context.Context, in Input) (Summary, error) {
	in.UserAgent = cmp.Or(in.UserAgent, h.UserAgent)
	o, err := in.Normal()
	if err != nil {
		return Summary{}, faena.Permanent(err)
	}
	call, ok := faena.Current(ctx)
	if !ok {
		return Summary{}, errors.New("a crawl is executed by a node only")
	}
	c := &crawler{
		node: call.Node(), id: call.ID(), keep: keepBatch(call), opt: o, scope: crawl.NewScope(o),
		most: max(1, o.Total/o.Concurrency), began: time.Now(), every: h.saveEvery, state: resume(ctx, o),
	}
	if err := c.replay(ctx); err != nil {
		return Summary{}, err
	}
	c.before = c.sum.Pages
	if err := c.crawl(ctx); err != nil {
		return Summary{}, err
	}
	if err := crawl.StartError(o, c.starts); err != nil {
		return Summary{}, faena.Permanent(err)
	}
	c.sum.Batches, c.sum.Limited = c.next, c.front.Full()
	c.sum.ElapsedMS = max(time.Since(c.id.Time()), 0).Milliseconds()
	return c.sum, nil
}

// crawl submits batches and takes in what they found until nothing is left.
func (c *crawler) crawl(ctx context.Context) error {
	for {
		if err := c.fill(ctx); err != nil {
			return err
		}
		if len(c.open) == 0 {
			return nil
		}
		if err := c.await(ctx); err != nil {
			return err
		}
		c.progress(ctx)
		c.checkpoint(ctx)
	}
}

// fill submits a batch for each host that has none, as far as there is room. One
// is stored before the next is submitted, so that their numbers have no gaps.
func (c *crawler) fill(ctx context.Context) error {
	c.front.Advance()
	for len(c.open) < c.most {
		host, ok := c.free()
		if !ok {
			return nil
		}
		b := &batch{n: c.next, host: host, items: c.take(host)}
		if err := c.submit(ctx, b); err != nil {
			return err
		}
		c.next++
		c.open = append(c.open, b)
	}
	return nil
}

// free is a host that has something to fetch and no batch under way.
func (c *crawler) free() (string, bool) {
	for host := range c.front.Hosts() {
		busy := false
		for _, b := range c.open {
			busy = busy || b.host == host
		}
		if !busy {
			return host, true
		}
	}
	return "", false
}

// take takes as many addresses of a host as make a batch.
func (c *crawler) take(host string) []frontier.Item {
	n := batchPages
	if d := time.Duration(max(c.delay[host], c.opt.Delay)); d > 0 {
		n = min(n, max(batchMinPages, int(batchTime/d)))
	}
	items := make([]frontier.Item, 0, n)
	for size := 0; len(items) < n && size < batchBytes; {
		it, ok := c.front.Pop(host)
		if !ok {
			break
		}
		size += len(it.URL) + len(it.Referrer)
		items = append(items, it)
	}
	return items
}

// submit submits a batch, to begin when its host can bear it: the one before has
// just ended, as far as is known.
func (c *crawler) submit(ctx context.Context, b *batch) (err error) {
	b.future, err = Fetch.Go(ctx, c.node, Batch{c.opt, b.items},
		faena.Named(name(b.n)), faena.In(time.Duration(c.delay[b.host])), faena.Tags(crawlTag, c.id.String()), c.keep)
	return err
}

// await waits for the next batch to end and takes in what it found.
func (c *crawler) await(ctx context.Context) error {
	futures := make([]*faena.Future[Fetched], len(c.open))
	for i, b := range c.open {
		futures[i] = b.future
	}
	for f, err := range faena.AsCompleted(ctx, futures...) {
		for i, b := range c.open {
			if b.future != f {
				continue
			}
			var got Fetched
			if err == nil {
				got, err = f.Get(ctx)
			}
			return c.end(ctx, i, got, err)
		}
	}
	return ctx.Err()
}

// end takes in how an open batch ended.
func (c *crawler) end(ctx context.Context, i int, got Fetched, err error) error {
	b := c.open[i]
	switch {
	case err == nil:
		if err := match(b, got.Pages); err != nil {
			return err
		}
	case ctx.Err() != nil || !ended(err):
		return err
	case !b.again:
		b.again = true
		faena.Logger(ctx).WarnContext(ctx, "a batch failed and is tried once more", "batch", b.n, "error", err)
		return c.submit(ctx, b)
	default:
		faena.Logger(ctx).WarnContext(ctx, "a batch is given up", "batch", b.n, "error", err)
		got.Pages = given(b.items, err)
	}
	c.open = append(c.open[:i], c.open[i+1:]...)
	c.fold(b.n, got, c.scope)
	return nil
}

// match is an error if a batch fetched something else than it was given. That may
// be if an earlier attempt's submission of the same number arrived late; the next
// attempt finds what is there.
func match(b *batch, pages []crawl.Page) error {
	if len(pages) == len(b.items) {
		same := true
		for i, it := range b.items {
			same = same && pages[i].URL == it.URL
		}
		if same {
			return nil
		}
	}
	return fmt.Errorf("%s has fetched other pages than it was given, for an earlier attempt", name(b.n))
}

// fold takes in what a batch found. The order of batches does not matter.
func (s *state) fold(n int, got Fetched, scope crawl.Scope) {
	for i := range got.Pages {
		p := &got.Pages[i]
		s.front.Finish(p.URL)
		for _, it := range scope.Found(p) {
			s.front.Add(it)
		}
		s.sum.Count(p)
		s.sum.Retries += max(p.Attempts-1, 0)
		if p.Depth == 0 && p.Hops == 0 {
			first := *p
			first.Links = nil
			s.starts[p.URL] = &first
		}
	}
	if len(got.Pages) > 0 {
		if host := link.Host(got.Pages[0].URL); got.Delay > 0 {
			s.delay[host] = got.Delay
		} else {
			delete(s.delay, host)
		}
	}
	s.ended[n] = true
	for s.ended[s.base] {
		delete(s.ended, s.base)
		s.base++
	}
}

func (c *crawler) progress(ctx context.Context) {
	known := c.front.Claimed()
	rate := float64(c.sum.Pages-c.before) / max(time.Since(c.began).Seconds(), 0.001)
	faena.Progress(ctx, float64(c.sum.Pages)/float64(max(known, 1)), fmt.Sprintf("%d of %d known pages, %.0f/s", c.sum.Pages, known, rate))
}
