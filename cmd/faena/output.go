package main

import (
	"context"
	"io"
	"time"
)

// output is one that is waited for only as long as ctx goes on: who reads it may
// have stopped, for ever.
type output struct {
	ctx context.Context //nolint:containedctx // of the command that writes
	w   io.Writer
}

// afterEnd is what a write under way is given once ctx has ended.
const afterEnd = 100 * time.Millisecond

// Write implements io.Writer. After ctx has ended it gives its cause, and p may be
// written all the same: nothing more is to be written then, and p is to be left as
// it is.
func (o output) Write(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := o.w.Write(p)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return r.n, r.err
	case <-o.ctx.Done():
	}
	t := time.NewTimer(afterEnd)
	defer t.Stop()
	select {
	case r := <-done:
		return r.n, r.err
	case <-t.C:
		return 0, context.Cause(o.ctx)
	}
}
