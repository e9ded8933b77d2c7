package bignum

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

// Pool bounds how many goroutines one computation uses. It may be shared by
// concurrent calls, which then share the bound. It holds no goroutine while
// idle and need not be closed.
type Pool struct {
	// tokens has room for the goroutines beyond the caller's own.
	tokens chan struct{}
}

// NewPool returns a pool that keeps at most workers goroutines busy, the
// caller's included. With workers below 1 it is runtime.GOMAXPROCS.
func NewPool(workers int) *Pool {
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	return &Pool{tokens: make(chan struct{}, workers-1)}
}

// Workers returns the bound that the pool keeps.
func (p *Pool) Workers() int { return cap(p.tokens) + 1 }

// Each calls f(0) … f(n-1), beside each other as far as the pool allows and
// otherwise in order on the calling goroutine. It returns when all calls have
// returned, with their errors joined; once ctx has ended no further call starts,
// and the error is ctx's. The calls may use the pool themselves: a call that
// finds no free goroutine does the work itself, so nothing waits for a slot.
func (p *Pool) Each(ctx context.Context, n int, f func(int) error) error {
	var (
		wg   sync.WaitGroup
		errs = make([]error, n)
	)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		// The last one stays here: the caller would only wait.
		if i < n-1 && p.acquire() {
			wg.Go(func() {
				defer p.release()
				errs[i] = f(i)
			})
			continue
		}
		errs[i] = f(i)
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(errs...)
}

func (p *Pool) acquire() bool {
	select {
	case p.tokens <- struct{}{}:
		return true
	default:
		return false
	}
}

func (p *Pool) release() { <-p.tokens }
