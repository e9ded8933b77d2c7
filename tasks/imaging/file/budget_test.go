package file_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena/tasks/imaging/file"
)

func TestBudgetBounds(t *testing.T) {
	t.Parallel()
	b := file.NewBudget(100)
	var held, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range 50 {
				n := r.Int64N(150)
				release, err := b.Acquire(t.Context(), n)
				if err != nil {
					t.Error(err)
					return
				}
				now := held.Add(max(1, min(n, 100)))
				for {
					m := most.Load()
					if now <= m || most.CompareAndSwap(m, now) {
						break
					}
				}
				held.Add(-max(1, min(n, 100)))
				release()
				release() // no more than once
			}
		})
	}
	wg.Wait()
	if most.Load() > 100 {
		t.Errorf("%d held at the same time, want at most 100", most.Load())
	}
	release, err := b.Acquire(t.Context(), 100)
	if err != nil {
		t.Fatalf("Acquire(all) = %v after all was released", err)
	}
	release()
}

func TestBudgetKeepsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := file.NewBudget(10)
		first, err := b.Acquire(t.Context(), 6)
		if err != nil {
			t.Fatal(err)
		}
		order := make(chan string, 2)
		take := func(ctx context.Context, name string, n int64) {
			release, err := b.Acquire(ctx, n)
			if err != nil {
				order <- name + " left: " + err.Error()
				return
			}
			order <- name
			release()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go take(ctx, "large", 8)
		synctest.Wait()
		go take(t.Context(), "small", 1) // would fit, but came later
		synctest.Wait()
		select {
		case name := <-order:
			t.Errorf("%s went before its turn", name)
		default:
		}
		// The large one leaves, and no longer holds the small one up.
		if got := <-order; got != "large left: context deadline exceeded" {
			t.Errorf("first came %q, want the large one to leave", got)
		}
		if got := <-order; got != "small" {
			t.Errorf("then came %q, want small", got)
		}
		first()
	})
}

func TestBudgetOfNil(t *testing.T) {
	t.Parallel()
	var b *file.Budget
	release, err := b.Acquire(t.Context(), 1<<40)
	if err != nil {
		t.Errorf("Acquire of no budget = %v, want no error", err)
	}
	release()
}

func TestBudgetEndsWithCause(t *testing.T) {
	t.Parallel()
	b := file.NewBudget(1)
	release, err := b.Acquire(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	cause := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := b.Acquire(ctx, 1); !errors.Is(err, cause) {
		t.Errorf("Acquire(ended context) = %v, want its cause", err)
	}
}
