package natsengine

import (
	"context"
	"sync"
	"sync/atomic"
)

// attemptContext is the context of one attempt, a child of its slot's. To be a
// child costs as much as a trivial handler, so it becomes one when somebody asks
// for Done, when it is cancelled, and when somebody looks at it who kept it
// beyond its end.
type attemptContext struct {
	context.Context //nolint:containedctx // the slot's

	asked atomic.Bool // the child counts
	mu    sync.Mutex
	child context.Context //nolint:containedctx // this one is it
	end   context.CancelCauseFunc
	over  bool
}

func (c *attemptContext) real() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child == nil {
		c.child, c.end = context.WithCancelCause(c.Context)
		c.asked.Store(true)
		if c.over {
			c.end(nil)
		}
	}
	return c.child
}

func (c *attemptContext) cancel(cause error) {
	c.real()
	c.end(cause)
}

// close ends it, as the attempt has.
func (c *attemptContext) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.asked.Store(true)
	if c.end != nil {
		c.end(nil)
	}
}

// Done is part of being a context, as are Err and Value.
func (c *attemptContext) Done() <-chan struct{} { return c.real().Done() }

func (c *attemptContext) Err() error {
	if !c.asked.Load() {
		return c.Context.Err()
	}
	return c.real().Err()
}

func (c *attemptContext) Value(key any) any {
	if !c.asked.Load() {
		return c.Context.Value(key)
	}
	return c.real().Value(key)
}
