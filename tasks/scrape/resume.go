package scrape

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/scrape/crawl"
	"github.com/faena-dev/faena/tasks/scrape/frontier"
	"github.com/faena-dev/faena/tasks/scrape/link"
)

// saveShare is how many times as long as a checkpoint took the next one waits: it
// is a walk through the whole frontier.
const saveShare = 50

// snapshot is the state as it is in a checkpoint.
type snapshot struct {
	Base     int                       `json:"base"`
	Ended    []int                     `json:"ended,omitempty"`
	Frontier []byte                    `json:"frontier"`
	Summary  Summary                   `json:"summary"`
	Starts   map[string]*crawl.Page    `json:"starts"`
	Delay    map[string]crawl.Duration `json:"delay,omitempty"`
}

// resume is the state of an earlier attempt's checkpoint, or that of a crawl that
// has just begun: then the children tell the rest, too.
func resume(ctx context.Context, o crawl.Options) state {
	var s snapshot
	ok, err := faena.Resume(ctx, &s)
	if ok && err == nil {
		var front *frontier.Frontier
		if front, err = frontier.Restore(s.Frontier); err == nil {
			out := state{front: front, base: s.Base, ended: make(map[int]bool), sum: s.Summary, starts: s.Starts, delay: s.Delay}
			for _, n := range s.Ended {
				out.ended[n] = true
			}
			return out.filled()
		}
	}
	if err != nil {
		faena.Logger(ctx).WarnContext(ctx, "a crawl begins without its checkpoint", "error", err)
	}
	out := state{front: frontier.New(o.Limit()), ended: make(map[int]bool)}
	for _, u := range o.Start {
		out.front.Add(frontier.Item{URL: u})
	}
	return out.filled()
}

func (s state) filled() state {
	if s.starts == nil {
		s.starts = make(map[string]*crawl.Page)
	}
	if s.delay == nil {
		s.delay = make(map[string]crawl.Duration)
	}
	return s
}

// checkpoint saves the state if it is time. It may fail: nothing depends on it.
func (c *crawler) checkpoint(ctx context.Context) {
	begun := time.Now()
	if begun.Before(c.save) {
		return
	}
	if c.save.IsZero() { // the start is found soon enough by itself
		c.save = begun.Add(c.every)
		return
	}
	err := faena.Checkpoint(ctx, snapshot{
		c.base, slices.Collect(maps.Keys(c.ended)), c.front.Snapshot(), c.sum, c.starts, c.delay,
	})
	if err != nil {
		faena.Logger(ctx).WarnContext(ctx, "a crawl's checkpoint is not saved", "error", err)
	}
	c.save = time.Now().Add(max(c.every, saveShare*time.Since(begun)))
}

// replay takes in what the batches of earlier attempts found, and finds those
// that are under way. A crawl that has just begun has none.
func (c *crawler) replay(ctx context.Context) error {
	var open []*batch
	for c.next = c.base; ; c.next++ {
		if c.next < c.base || c.ended[c.next] {
			continue
		}
		f, ok, err := Fetch.Child(ctx, c.node, c.id, name(c.next))
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		b, err := c.found(ctx, f)
		if err != nil {
			return err
		}
		if b != nil {
			open = append(open, b)
		}
	}
	c.front.Advance() // to the level at which the open ones are
	for _, b := range open {
		for _, it := range b.items {
			c.front.Take(it)
		}
		if b.future == nil {
			if err := c.submit(ctx, b); err != nil {
				return err
			}
		}
		c.open = append(c.open, b)
	}
	c.front.Trim()
	return nil
}

// found takes in a batch that ended, or gives one that is under way. One that
// failed comes without a future, to be submitted again.
func (c *crawler) found(ctx context.Context, f *faena.Future[Fetched]) (*batch, error) {
	b := &batch{n: c.next, future: f}
	select {
	case <-f.Done():
		got, err := f.Get(ctx)
		if err == nil {
			c.fold(b.n, got, c.scope)
			return nil, nil
		}
		if ctx.Err() != nil || !ended(err) {
			return nil, err
		}
		b.future, b.again = nil, true
	default:
	}
	items, err := itemsOf(ctx, c.node, f.ID())
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("the addresses of %s are not kept any more", name(b.n))
	}
	b.items, b.host = items, link.Host(items[0].URL)
	return b, nil
}

// itemsOf is what a batch was to fetch, empty if that is not kept any more.
func itemsOf(ctx context.Context, node *faena.Node, id faena.ID) ([]frontier.Item, error) {
	in, err := node.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(in.Input) == 0 {
		return nil, nil
	}
	var b Batch
	if err := json.Unmarshal(in.Input, &b); err != nil {
		return nil, fmt.Errorf("read the input of run %s: %w", id, err)
	}
	return b.Items, nil
}
