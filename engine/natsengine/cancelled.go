package natsengine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
)

// cancelled is the set of cancelled runs whose messages may still stand in a
// queue, and of cancelled parents whose children may. A worker looks before
// every start.
type cancelled struct {
	w    *worker
	tail *tail
	mu   sync.RWMutex
	ids  map[engine.ID]uint64    // sequences of their entries, 0 before they come
	bare map[engine.ID]time.Time // those without an entry, since when: it is about to come, or there will be none
}

// newCancelled makes an empty set. It may be added to before it follows.
func newCancelled(w *worker) *cancelled {
	return &cancelled{w: w, ids: map[engine.ID]uint64{}, bare: map[engine.ID]time.Time{}}
}

// follow returns when all entries there are have been read.
func (c *cancelled) follow() error {
	w := c.w
	newest, err := w.e.getLast(w.e.ctx, streamCancelled, subjectCancelled+"*")
	if err != nil {
		return err
	}
	loaded := make(chan struct{})
	var last uint64
	if newest != nil {
		last = newest.seq
	}
	var once sync.Once
	c.tail, err = w.e.tail(streamCancelled, subjectCancelled+"*", 1, func(m *nats.Msg, seq uint64, _ int64) {
		if id, err := engine.ParseID(m.Subject[len(subjectCancelled):]); err == nil {
			c.add(id, seq)
		}
		if seq >= last {
			once.Do(func() { close(loaded) })
		}
	})
	if err != nil {
		return err
	}
	if newest == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.e.ctx, requestTimeout)
	defer cancel()
	select {
	case <-loaded:
		return nil
	case <-ctx.Done():
		c.tail.stop()
		return fmt.Errorf("read cancelled runs: %w", unavailable(ctx.Err()))
	}
}

func (c *cancelled) add(id engine.ID, seq uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, there := c.ids[id]
	switch {
	case seq != 0:
		delete(c.bare, id)
	case !there:
		c.bare[id] = time.Now()
	}
	c.ids[id] = max(c.ids[id], seq)
}

const (
	// pruneEvery is how often ids whose entries are gone are forgotten.
	pruneEvery = time.Minute
	// bareFor is how long one is remembered that has none: a run that a worker ended
	// because its parent was cancelled, or whose entry a power cut took.
	bareFor = time.Hour
)

// prune forgets ids whose entries are gone, because their runs are.
func (c *cancelled) prune() {
	ctx, cancel := context.WithTimeout(c.w.ctx, requestTimeout)
	defer cancel()
	s, err := c.w.e.stream(ctx, streamCancelled)
	if err != nil {
		return // later
	}
	i, err := s.Info(ctx)
	if err != nil {
		return
	}
	c.forget(i.State.FirstSeq, time.Now())
}

// forget drops ids whose entries stood before a sequence, or have not come for long.
func (c *cancelled) forget(before uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, seq := range c.ids {
		if seq != 0 && seq < before {
			delete(c.ids, id)
		}
	}
	for id, at := range c.bare {
		if now.Sub(at) > bareFor {
			delete(c.ids, id)
			delete(c.bare, id)
		}
	}
}

func (c *cancelled) has(id engine.ID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.ids) == 0 {
		return false
	}
	_, ok := c.ids[id]
	return ok
}

func (c *cancelled) stop() { c.tail.stop() }
