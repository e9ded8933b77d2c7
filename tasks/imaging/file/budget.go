package file

import (
	"context"
	"sync"
)

// Budget bounds the pixels that are held in memory at the same time, by all that
// share it. Who asks first goes first, so that a large picture is not passed by
// small ones for ever. A nil Budget bounds nothing.
type Budget struct {
	mu    sync.Mutex
	total int64
	used  int64
	queue []*waiter
}

type waiter struct {
	n     int64
	ready chan struct{}
}

// NewBudget returns a budget of so many pixels, at least 1.
func NewBudget(pixels int64) *Budget {
	return &Budget{total: max(1, pixels)}
}

// Acquire blocks until n pixels are free or ctx ends. More than there are in all
// counts as all: such a picture goes alone. The caller calls release once, from
// any goroutine.
func (b *Budget) Acquire(ctx context.Context, n int64) (release func(), err error) {
	if b == nil {
		return func() {}, nil
	}
	n = max(1, min(n, b.total))
	release = sync.OnceFunc(func() { b.give(n) })
	b.mu.Lock()
	if len(b.queue) == 0 && b.used+n <= b.total {
		b.used += n
		b.mu.Unlock()
		return release, nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	b.queue = append(b.queue, w)
	b.mu.Unlock()
	select {
	case <-w.ready:
		return release, nil
	case <-ctx.Done():
		b.leave(w, release)
		return nil, context.Cause(ctx)
	}
}

func (b *Budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.admit()
}

// leave takes a waiter out; one that was admitted meanwhile gives back.
func (b *Budget) leave(w *waiter, release func()) {
	b.mu.Lock()
	for i, q := range b.queue {
		if q == w {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.admit() // it may have held up those behind it
			b.mu.Unlock()
			return
		}
	}
	b.mu.Unlock()
	release()
}

// admit lets in from the front whoever fits.
func (b *Budget) admit() {
	for len(b.queue) > 0 && b.used+b.queue[0].n <= b.total {
		b.used += b.queue[0].n
		close(b.queue[0].ready)
		b.queue = b.queue[1:]
	}
}
