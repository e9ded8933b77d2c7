package faena_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/faena-dev/faena"
)

// The first attempt is cut short; the second goes on where it was.
func ExampleCheckpoint() {
	ctx := context.Background()
	n, done := node()
	defer done()
	count := faena.Define[int, []int]("count", faena.Retry(2, 100*time.Millisecond))
	err := n.Handle(count.With(func(ctx context.Context, to int) ([]int, error) {
		var seen []int
		if _, err := faena.Resume(ctx, &seen); err != nil {
			return nil, err
		}
		from := len(seen)
		for i := from; i < to; i++ {
			seen = append(seen, i)
			faena.Progress(ctx, float64(i)/float64(to), "counting")
			if i == to/2 && faena.Attempt(ctx) == 1 {
				time.Sleep(2 * time.Millisecond) // sooner ones may be left out
				return nil, errors.Join(errors.New("cut short"), faena.Checkpoint(ctx, seen))
			}
		}
		return []int{from, len(seen)}, nil
	}))
	if err != nil {
		panic(err)
	}
	fmt.Println(count.Run(ctx, n, 10))
	// Output: [6 10] <nil>
}

func ExampleSnooze() {
	ctx := context.Background()
	n, done := node()
	defer done()
	ready := false
	poll := faena.Define[struct{}, int]("poll", faena.Retry(1, 0))
	err := n.Handle(poll.With(func(ctx context.Context, _ struct{}) (int, error) {
		if !ready {
			ready = true
			return 0, faena.Snooze(10 * time.Millisecond) // not counted as an attempt
		}
		return faena.Attempt(ctx), nil
	}))
	if err != nil {
		panic(err)
	}
	fmt.Println(poll.Run(ctx, n, struct{}{}))
	// Output: 1 <nil>
}

// A parent that is executed again finds the children it has already started.
func ExampleNamed() {
	ctx := context.Background()
	n, done := node()
	defer done()
	order := faena.Define[string, faena.ID]("order", faena.Retry(2, 0))
	var ids []faena.ID
	err := n.Handle(order.With(func(ctx context.Context, _ string) (faena.ID, error) {
		f, err := Add.Go(ctx, n, [2]int{40, 2}, faena.Named("payment"))
		if err != nil {
			return faena.ID{}, err
		}
		ids = append(ids, f.ID())
		if _, err := f.Get(ctx); err != nil {
			return faena.ID{}, err
		}
		if faena.Attempt(ctx) == 1 {
			return faena.ID{}, errors.New("the network is down")
		}
		return f.ID(), nil
	}))
	if err != nil {
		panic(err)
	}
	if _, err := order.Run(ctx, n, "a"); err != nil {
		panic(err)
	}
	fmt.Println(len(ids), ids[0] == ids[1])
	// Output: 2 true
}

// A parent that is executed again finds what it began by its name, and needs not
// know its input any more. Others find it too, given the parent's id.
func ExampleTask_Child() {
	ctx := context.Background()
	n, done := node()
	defer done()
	order := faena.Define[string, int]("order", faena.Retry(2, 0))
	err := n.Handle(order.With(func(ctx context.Context, _ string) (int, error) {
		payment, found, err := Add.Child(ctx, n, faena.RunID(ctx), "payment")
		if err != nil {
			return 0, err
		}
		if found { // an earlier attempt has submitted it
			return payment.Get(ctx)
		}
		if _, err := Add.Go(ctx, n, [2]int{40, 2}, faena.Named("payment")); err != nil {
			return 0, err
		}
		return 0, errors.New("the network is down")
	}))
	if err != nil {
		panic(err)
	}
	f, err := order.Go(ctx, n, "a")
	if err != nil {
		panic(err)
	}
	fmt.Println(f.Get(ctx))
	payment, found, err := Add.Child(ctx, n, f.ID(), "payment")
	if err != nil || !found {
		panic(err)
	}
	fmt.Println(payment.Get(ctx))
	// Output:
	// 42 <nil>
	// 42 <nil>
}

// The id is the same for all attempts of a run: a key for what the world outside
// should do once.
func ExampleRunID() {
	ctx := context.Background()
	n, done := node()
	defer done()
	charged := map[faena.ID]int{}
	charge := faena.Define[int, int]("charge", faena.Retry(2, 0))
	err := n.Handle(charge.With(func(ctx context.Context, cents int) (int, error) {
		charged[faena.RunID(ctx)] = cents
		if faena.Attempt(ctx) == 1 {
			return 0, errors.New("the answer was lost")
		}
		return len(charged), nil
	}))
	if err != nil {
		panic(err)
	}
	fmt.Println(charge.Run(ctx, n, 1999))
	// Output: 1 <nil>
}

func ExampleProgress() {
	ctx := context.Background()
	n, done := node()
	defer done()
	half, goOn := make(chan faena.ID), make(chan struct{})
	walk := faena.Define[struct{}, string]("walk")
	err := n.Handle(walk.With(func(ctx context.Context, _ struct{}) (string, error) {
		faena.Progress(ctx, 0.5, "half of the way")
		half <- faena.RunID(ctx)
		<-goOn
		return "there", nil
	}))
	if err != nil {
		panic(err)
	}
	f, err := walk.Go(ctx, n, struct{}{})
	if err != nil {
		panic(err)
	}
	for run, err := range n.Watch(ctx, <-half) {
		if err != nil {
			panic(err)
		}
		if run.Progress != nil && !run.State.Terminal() {
			fmt.Println(run.Progress.Done, run.Progress.Text)
			break
		}
	}
	close(goOn)
	fmt.Println(f.Get(ctx))
	// Output:
	// 0.5 half of the way
	// there <nil>
}
