package faena

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
)

// inbox gathers the numbers of what has ended, for one reader.
type inbox struct {
	mu    sync.Mutex
	ready []int
	wake  chan struct{}
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) put(i int) {
	b.mu.Lock()
	b.ready = append(b.ready, i)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default: // the reader is told already
	}
}

// take empties the inbox into buf.
func (b *inbox) take(buf []int) []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	buf = append(buf[:0], b.ready...)
	b.ready = b.ready[:0]
	return buf
}

// wait blocks until there is something to take.
func (b *inbox) wait(ctx context.Context, node *Node, buf []int) ([]int, error) {
	if buf = b.take(buf); len(buf) > 0 {
		return buf, nil
	}
	err := waiting(ctx, func() error {
		for {
			select {
			case <-b.wake:
			case <-ctx.Done():
				return ctxError(ctx, "wait for runs")
			case <-node.done:
				return closed("wait for runs")
			case <-node.eng.Done():
				return node.over("wait for runs")
			}
			if buf = b.take(buf); len(buf) > 0 { // else taken before it was told
				return nil
			}
		}
	})
	return buf, err
}

// All waits for all futures and gives their results in order. It returns at the
// first that fails, with its error; the others go on. A nil one is an error with
// CodeInvalid. It waits as [Future.Get] does.
func All[T any](ctx context.Context, futures ...*Future[T]) ([]T, error) {
	out := make([]T, len(futures))
	err := each(ctx, futures, func(i int, err error) error {
		if err != nil {
			return err
		}
		out[i], err = futures[i].Get(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

var errEnough = errors.New("enough")

// First waits for the first future that succeeds and gives its result; the
// others go on. If all fail its error joins theirs. A nil one is an error with
// CodeInvalid. It waits as [Future.Get] does.
func First[T any](ctx context.Context, futures ...*Future[T]) (T, error) {
	var out T
	if len(futures) == 0 {
		return out, invalid("wait for the first run", "there is none")
	}
	var errs []error
	err := each(ctx, futures, func(i int, err error) error {
		if err != nil {
			return err
		}
		if out, err = futures[i].Get(ctx); err != nil {
			errs = append(errs, err)
			return nil
		}
		return errEnough
	})
	switch {
	case errors.Is(err, errEnough):
		return out, nil
	case err != nil:
		return out, err
	}
	return out, errors.Join(errs...)
}

// AsCompleted yields each future once, in the order in which the runs end, with
// the run's error, nil if it succeeded; Get of a yielded future does not wait.
// Once ctx has ended the rest is yielded with its error. A nil one is yielded
// first, with an error with CodeInvalid. A break leaves the rest alone. It waits
// as [Future.Get] does.
func AsCompleted[T any](ctx context.Context, futures ...*Future[T]) iter.Seq2[*Future[T], error] {
	return func(yield func(*Future[T], error) bool) {
		_ = each(ctx, futures, func(i int, err error) error { // nothing but errEnough
			if err == nil {
				if r := futures[i].record(); r != nil && r.State != Succeeded {
					err = futures[i].read(ctx, r, nil)
				}
			}
			if !yield(futures[i], err) {
				return errEnough
			}
			return nil
		})
	}
}

// each calls fn once for each future, as they end, or with why there is no more
// waiting for it. An error of fn ends it.
func each[T any](ctx context.Context, futures []*Future[T], fn func(i int, err error) error) error {
	told := make([]bool, len(futures))
	left := len(futures)
	for i, f := range futures {
		if f.none() {
			told[i] = true
			left--
			if err := fn(i, invalid("wait for runs", "future %d of %d is nil or its zero value", i+1, len(futures))); err != nil {
				return err
			}
		}
	}
	if left == 0 {
		return nil
	}
	box := newInbox()
	for i, f := range futures {
		if !told[i] {
			f.subscribe(box, i)
		}
	}
	node := futures[slices.Index(told, false)].node
	defer func() {
		for i, f := range futures {
			if !told[i] {
				f.unsubscribe(box)
			}
		}
	}()
	var buf []int
	for left > 0 {
		var err error
		if buf, err = box.wait(ctx, node, buf); err != nil {
			for i := range futures {
				if told[i] {
					continue
				}
				if err := fn(i, err); err != nil {
					return err
				}
			}
			return nil
		}
		for _, i := range buf {
			told[i] = true
			left--
			if err := fn(i, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
