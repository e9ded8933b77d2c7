// Package commit lets many callers share one sync of a disk: a group commit.
package commit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Linger bounds: how long a cycle waits for the callers of the last one to come
// again, by how many they are with those who wait already. It begins as soon as
// all are there. A lone caller never waits.
const (
	lingerPer = 10 * time.Microsecond
	lingerMax = time.Millisecond
	lingerMin = 3 // callers in the last cycle below which there is no linger
)

// Group runs cycles: each takes all callers that wait when it starts, calls
// sync once, and releases them. After a sync that failed nobody knows what is
// on disk, so every later call fails with the same error.
type Group struct {
	sync   func() error
	onMark func(uint64)

	mu      sync.Mutex
	next    *cycle // gathers callers
	running *cycle // syncs now
	busy    bool   // a goroutine runs cycles
	expect  int    // callers that may come for the next cycle
	ended   time.Time
	want    int // callers that a lingering cycle waits for; 0 when none does
	full    chan struct{}
	err     error
	cycles  atomic.Int64

	stored    atomic.Uint64 // highest mark known to be written
	committed atomic.Uint64 // highest mark known to be on disk
}

type cycle struct {
	done    chan struct{}
	waits   int
	callers int // that may come again
	mark    uint64
}

// New makes a group over flush, which makes durable what was written before. onMark, if not nil, is told each higher mark
// that has been committed; it must not block.
func New(flush func() error, onMark func(uint64)) *Group {
	return &Group{sync: flush, onMark: onMark, next: newCycle(), full: make(chan struct{}, 1)}
}

func newCycle() *cycle { return &cycle{done: make(chan struct{})} }

// Wait returns after a sync that began after the call, or when ctx ends; what
// the caller wrote before is then on disk. Waiters of one cycle share its sync.
// One that waits for several callers says for how many: others may linger for
// them to come again; 0 is for one that nobody should wait for.
func (g *Group) Wait(ctx context.Context, callers int) error {
	g.mu.Lock()
	c := g.join(callers)
	g.mu.Unlock()
	return g.await(ctx, c)
}

// WaitMark returns once what carries the mark is on disk, given that it is
// written by now; it joins the sync under way if that covers the mark. Marks
// rise as they are written.
func (g *Group) WaitMark(ctx context.Context, mark uint64) error {
	if g.committed.Load() >= mark {
		return nil
	}
	raise(&g.stored, mark)
	g.mu.Lock()
	c := g.running
	if c == nil || c.mark < mark {
		c = g.join(1)
	}
	g.mu.Unlock()
	return g.await(ctx, c)
}

// Stored says that all marks up to this are written: a later sync covers them.
func (g *Group) Stored(mark uint64) { raise(&g.stored, mark) }

// Committed is the highest mark known to be on disk.
func (g *Group) Committed() uint64 { return g.committed.Load() }

// Cycles counts the syncs done.
func (g *Group) Cycles() int64 { return g.cycles.Load() }

// Err is the error of the sync that failed, if one did.
func (g *Group) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

func (g *Group) await(ctx context.Context, c *cycle) error {
	select {
	case <-c.done:
		return g.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// join adds callers to the next cycle. The caller holds mu.
func (g *Group) join(callers int) *cycle {
	c := g.next
	c.waits++
	c.callers += callers
	switch {
	case !g.busy:
		g.busy = true
		go g.run()
	case g.want > 0 && c.callers >= g.want:
		g.want = 0
		g.full <- struct{}{}
	}
	return c
}

// linger waits for the callers that are expected. The caller holds mu.
func (g *Group) linger() {
	want := g.expect
	if want < lingerMin || g.next.callers >= want || time.Since(g.ended) > lingerMax {
		return
	}
	g.want = want
	g.mu.Unlock()
	t := time.NewTimer(min(time.Duration(want)*lingerPer, lingerMax))
	select {
	case <-g.full:
	case <-t.C:
	}
	t.Stop()
	g.mu.Lock()
	if g.want == 0 { // it was filled, perhaps just after time was up
		select {
		case <-g.full:
		default:
		}
	}
	g.want = 0
}

// run does cycles until nobody waits: no goroutine stays when there is nothing
// to do.
func (g *Group) run() {
	for {
		g.mu.Lock()
		if g.next.waits == 0 {
			g.busy = false
			g.mu.Unlock()
			return
		}
		g.linger()
		c := g.next
		g.running, g.next = c, newCycle()
		c.mark = g.stored.Load()
		err := g.err
		g.mu.Unlock()
		if err == nil {
			err = g.sync()
			g.cycles.Add(1)
		}
		g.mu.Lock()
		g.err, g.running = err, nil
		g.expect, g.ended = c.callers+g.next.callers, time.Now()
		if c.callers < lingerMin {
			g.expect = 0
		}
		g.mu.Unlock()
		if err == nil && raise(&g.committed, c.mark) && g.onMark != nil {
			g.onMark(c.mark)
		}
		close(c.done)
	}
}

func raise(v *atomic.Uint64, to uint64) bool {
	for h := v.Load(); to > h; h = v.Load() {
		if v.CompareAndSwap(h, to) {
			return true
		}
	}
	return false
}
