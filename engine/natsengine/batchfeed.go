package natsengine

import (
	"context"
	"slices"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Runs of a batch that are executed from its parts, without messages of their own.
const (
	// feedLow is how few ready runs are left when the next part comes.
	feedLow = 256
	// feedFor bounds the time that the rest of a batch may take: until then its
	// manifest stands for all of its runs, and a crash leaves them all in doubt.
	feedFor = 2 * time.Second
	// feedCost is what a run takes at least, beside its handler.
	feedCost = 10 * time.Microsecond
)

// mayFeed tells whether the rest of a batch, of runs like r, may be executed here
// as it is: they are short, there are not too many, and nobody else could take a
// share.
func (w *worker) mayFeed(r *engine.Run, left int) bool {
	w.mu.Lock()
	p := w.tasks[taskKey{r.Queue, r.Task}]
	short := !w.stopping && !w.paused[r.Queue] && p != nil && p.known && most(p.avg) == chunkMost &&
		max(time.Duration(p.avg/float64(w.o.Slots)*float64(time.Second)), feedCost)*time.Duration(left) <= feedFor
	w.mu.Unlock()
	h := w.e.holder
	return short && h != nil && !h.nodes.others(w.e.id, r.Queue)
}

// others tells whether a live node beside one works for a queue.
func (n *nodes) others(id, queue string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other, s := range n.m {
		if other == id {
			continue
		}
		if slices.Contains(s.info.Queues, queue) {
			return true
		}
	}
	return false
}

// feed makes a part's runs from an offset on ready, as if each had been delivered by a message of
// its own, and waits until few are left. The manifest is their message.
func (x *expansion) feed(data []byte, from int) error {
	w := x.w
	if err := x.answered(); err != nil {
		return err
	}
	items, err := w.items(&x.dec, x.u, data, from, func(it *item) {
		it.run.Rev++
		it.again, it.noted = it.run.Doubt, it.run.Doubt
		it.doubt = it.run.Doubt
	})
	if err != nil {
		return err
	}
	x.n += len(items)
	w.mu.Lock()
	x.u.left += len(items)
	w.mu.Unlock()
	w.claim(items)
	return w.lowOrEnd(w.ctx)
}

// lowOrEnd waits until few runs are ready.
func (w *worker) lowOrEnd(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.feeding++
	defer func() { w.feeding-- }()
	for w.ready.n > feedLow && !w.stopping {
		w.mu.Unlock()
		var err error
		select {
		case <-w.low:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		w.mu.Lock()
		if err != nil {
			return err
		}
	}
	w.feedLocked() // another may wait for the same
	return nil
}

// feedLocked tells a batch that waits of few ready runs.
func (w *worker) feedLocked() {
	if w.feeding == 0 || w.ready.n > feedLow && !w.stopping {
		return
	}
	select {
	case w.low <- struct{}{}:
	default:
	}
}
