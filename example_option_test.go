package faena_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/faena-dev/faena"
)

// Two attempts, the second at once: the first one's error is not the run's.
func ExampleRetry() {
	ctx := context.Background()
	n, done := node()
	defer done()
	flaky := faena.Define[string, string]("flaky", faena.Retry(2, 0))
	err := n.Handle(flaky.With(func(ctx context.Context, in string) (string, error) {
		if faena.Attempt(ctx) == 1 {
			return "", errors.New("the network is down")
		}
		return in + ", at the second attempt", nil
	}))
	if err != nil {
		panic(err)
	}
	fmt.Println(flaky.Run(ctx, n, "done"))
	// Output: done, at the second attempt <nil>
}

func ExampleTimeout() {
	ctx := context.Background()
	n, done := node()
	defer done()
	slow := faena.Define[struct{}, struct{}]("slow", faena.Retry(1, 0), faena.Timeout(20*time.Millisecond))
	err := n.Handle(slow.With(func(ctx context.Context, in struct{}) (struct{}, error) {
		<-ctx.Done() // as a handler should: it returns when its context ends
		return in, context.Cause(ctx)
	}))
	if err != nil {
		panic(err)
	}
	_, err = slow.Run(ctx, n, struct{}{})
	fmt.Println(faena.CodeOf(err), errors.Is(err, faena.ErrTimeout))
	// Output: timeout true
}

// The deadline is the run's and ends it whatever attempts are left.
func ExampleExpireIn() {
	ctx := context.Background()
	n, done := node()
	defer done()
	slow := faena.Define[struct{}, struct{}]("slow")
	err := n.Handle(slow.With(func(ctx context.Context, in struct{}) (struct{}, error) {
		<-ctx.Done()
		return in, context.Cause(ctx)
	}))
	if err != nil {
		panic(err)
	}
	_, err = slow.Run(ctx, n, struct{}{}, faena.ExpireIn(200*time.Millisecond))
	fmt.Println(faena.CodeOf(err), errors.Is(err, faena.ErrDeadline))
	// Output: deadline true
}

// A task may have its runs in several queues, each with its own pause.
func ExampleHandler_From() {
	ctx := context.Background()
	n, done := node()
	defer done()
	shout := faena.Define[string, string]("shout", faena.Queue("normal"))
	handler := shout.With(func(ctx context.Context, in string) (string, error) {
		c, _ := faena.Current(ctx)
		return in + "! from " + c.Queue(), nil
	})
	if err := n.Handle(handler.From("normal", "urgent")); err != nil {
		panic(err)
	}
	fmt.Println(shout.Run(ctx, n, "hey", faena.Queue("urgent")))
	// Output: hey! from urgent <nil>
}

// A detached child goes on when its parent is cancelled.
func ExampleDetached() {
	ctx := context.Background()
	n, done := node()
	defer done()
	child := make(chan faena.ID, 1)
	parent := faena.Define[struct{}, int]("parent")
	err := n.Handle(parent.With(func(ctx context.Context, _ struct{}) (int, error) {
		f, err := Add.Go(ctx, n, [2]int{1, 2}, faena.Detached(), faena.In(time.Hour))
		if err != nil {
			return 0, err
		}
		child <- f.ID()
		return f.Get(ctx)
	}))
	if err != nil {
		panic(err)
	}
	f, err := parent.Go(ctx, n, struct{}{})
	if err != nil {
		panic(err)
	}
	id := <-child
	if err := f.Cancel(ctx); err != nil {
		panic(err)
	}
	info, err := n.Get(ctx, id)
	fmt.Println(info.State, err)
	// Output: scheduled <nil>
}

// The result of this run can be read for a minute.
func ExampleKeep() {
	ctx := context.Background()
	n, done := node()
	defer done()
	f, err := Add.Go(ctx, n, [2]int{1, 2}, faena.Keep(time.Minute, time.Hour))
	if err != nil {
		panic(err)
	}
	if _, err := f.Get(ctx); err != nil {
		panic(err)
	}
	out, err := n.Output(ctx, f.ID())
	fmt.Println(string(out), err)
	// Output: 3 <nil>
}

// A run of a task that no live worker knows waits for one.
func ExampleWaitForWorker() {
	ctx := context.Background()
	n, done := node()
	defer done()
	id, err := n.Submit(ctx, "later", json.RawMessage(`"x"`), faena.WaitForWorker())
	if err != nil {
		panic(err)
	}
	later := faena.Define[string, string]("later")
	if err := n.Handle(later.With(func(_ context.Context, in string) (string, error) { return in + " at last", nil })); err != nil {
		panic(err)
	}
	f, err := faena.Attach[string](ctx, n, id)
	if err != nil {
		panic(err)
	}
	fmt.Println(f.Get(ctx))
	// Output: x at last <nil>
}

// Children have the trace of the run that submitted them.
func ExampleWithTrace() {
	n, done := node()
	defer done()
	n.Use(func(next faena.Next) faena.Next {
		return func(ctx context.Context, c *faena.Call) (json.RawMessage, error) {
			fmt.Println(c.Trace())
			return next(ctx, c)
		}
	})
	ctx := faena.WithTrace(context.Background(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if _, err := Sum.Run(ctx, n, 1); err != nil {
		panic(err)
	}
	// Output:
	// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
	// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
}

// However often it fails, it waits no longer than the cap: here three times 20 ms
// where it would be 20, 40 and 80.
func ExampleRetryCap() {
	ctx := context.Background()
	n, done := node()
	defer done()
	flaky := faena.Define[string, string]("flaky", faena.Retry(4, 20*time.Millisecond), faena.RetryCap(20*time.Millisecond))
	err := n.Handle(flaky.With(func(ctx context.Context, in string) (string, error) {
		if faena.Attempt(ctx) < 4 {
			return "", errors.New("the network is down")
		}
		return in + ", at the last attempt", nil
	}))
	if err != nil {
		panic(err)
	}
	fmt.Println(flaky.Run(ctx, n, "done"))
	// Output: done, at the last attempt <nil>
}

func ExampleAt() {
	ctx := context.Background()
	n, done := node()
	defer done()
	f, err := Add.Go(ctx, n, [2]int{1, 2}, faena.At(time.Now().AddDate(0, 0, 1))) // tomorrow
	if err != nil {
		panic(err)
	}
	info, err := n.Get(ctx, f.ID())
	if err != nil {
		panic(err)
	}
	fmt.Println(info.State, time.Until(*info.At) > 22*time.Hour)
	// Output: scheduled true
}

// The handler's context ends at the run's deadline, or earlier.
func ExampleDeadline() {
	ctx := context.Background()
	n, done := node()
	defer done()
	slow := faena.Define[struct{}, struct{}]("slow")
	err := n.Handle(slow.With(func(ctx context.Context, in struct{}) (struct{}, error) {
		<-ctx.Done()
		return in, context.Cause(ctx)
	}))
	if err != nil {
		panic(err)
	}
	_, err = slow.Run(ctx, n, struct{}{}, faena.Deadline(time.Now().Add(200*time.Millisecond)))
	fmt.Println(faena.CodeOf(err), errors.Is(err, faena.ErrDeadline))
	// Output: deadline true
}
