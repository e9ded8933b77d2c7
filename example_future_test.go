package faena_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/faena-dev/faena"
)

// Done is for select statements.
func ExampleFuture_Done() {
	ctx := context.Background()
	n, done := node()
	defer done()
	f, err := Add.Go(ctx, n, [2]int{1, 2})
	if err != nil {
		panic(err)
	}
	patience := time.NewTimer(time.Minute)
	defer patience.Stop()
	select {
	case <-f.Done():
		fmt.Println(f.Get(ctx)) // does not wait
	case <-patience.C:
		fmt.Println("it takes too long")
	}
	// Output: 3 <nil>
}

func ExampleFuture_Cancel() {
	ctx := context.Background()
	n, done := node()
	defer done()
	f, err := Add.Go(ctx, n, [2]int{1, 2}, faena.In(time.Hour))
	if err != nil {
		panic(err)
	}
	if err := f.Cancel(ctx); err != nil {
		panic(err)
	}
	_, err = f.Get(ctx)
	fmt.Println(faena.CodeOf(err), errors.Is(err, faena.ErrCancelled))
	// Output: cancelled true
}

// All waits for several runs and gives their results in order.
func ExampleAll() {
	ctx := context.Background()
	n, done := node()
	defer done()
	var futs []*faena.Future[int]
	for i := range 3 {
		f, err := Add.Go(ctx, n, [2]int{i, i})
		if err != nil {
			panic(err)
		}
		futs = append(futs, f)
	}
	fmt.Println(faena.All(ctx, futs...))
	// Output: [0 2 4] <nil>
}

// The error of a failed run has a code, of a closed set, and what its handler said.
func ExampleCodeOf() {
	ctx := context.Background()
	n, done := node()
	defer done()
	_, err := Fail.Run(ctx, n, "no such page")
	switch faena.CodeOf(err) {
	case faena.CodeFailed, faena.CodePermanent, faena.CodePanic:
		if e, ok := errors.AsType[*faena.Error](err); ok {
			fmt.Println("the handler says:", e.Err)
		}
	default:
		fmt.Println("something else:", err)
	}
	// Output: the handler says: no such page
}
