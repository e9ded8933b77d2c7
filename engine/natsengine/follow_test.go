package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A worker had recorded a start, and the server went away before the follower had
// read that: the slot waited for a server that never comes back.
func TestStartIsNotAwaitedOnAServerThatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &follower{e: &Engine{ctx: t.Context()}, server: "first"}
		f.cond = sync.NewCond(&f.mu)
		var at atomic.Value
		at.Store("first")
		passed := func(server string, seq uint64) <-chan error {
			done := make(chan error, 1)
			go func() {
				done <- f.passed(t.Context(), func() string { return at.Load().(string) }, server, seq)
			}()
			synctest.Wait()
			return done
		}
		waits := func(when string, done <-chan error) {
			t.Helper()
			synctest.Wait()
			select {
			case err := <-done:
				t.Errorf("passed %s = %v, want that it waits", when, err)
			default:
			}
		}
		gone := passed("first", 7)
		waits("before it is read", gone)
		f.moved("second", 3, true)
		waits("while the worker is connected to where it was recorded", gone)
		at.Store("")
		f.wake()
		synctest.Wait()
		select {
		case err := <-gone:
			if !errors.Is(err, errMoved) {
				t.Errorf("passed on a server that is gone = %v, want %v", err, errMoved)
			}
		default:
			t.Error("passed waits for a server that is gone")
		}
		at.Store("third")
		next := passed("third", 2)
		waits("before the follower is there", next)
		f.moved("third", 2, false)
		if err := <-next; err != nil {
			t.Errorf("passed once it is read = %v, want nil", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errClosed)
		if err := f.passed(ctx, func() string { return "third" }, "third", 9); !errors.Is(err, errClosed) {
			t.Errorf("passed at the end = %v, want %v", err, errClosed)
		}
	})
}
