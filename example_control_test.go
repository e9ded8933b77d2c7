package faena_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
)

func ExampleHooks() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "faena")
	if err != nil {
		panic(err)
	}
	eng, err := embedded.Open(ctx, embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		panic(err)
	}
	node, err := faena.Open(ctx, eng, faena.Options{Hooks: faena.Hooks{
		Finished: func(_ context.Context, c *faena.Call, err error) {
			fmt.Printf("attempt %d of %s: %v\n", c.Attempt(), c.Task(), err)
		},
	}})
	if err != nil {
		panic(err)
	}
	defer func() { _ = errors.Join(node.Close(), eng.Close(), os.RemoveAll(dir)) }()
	if err := node.Handle(Add.With(func(_ context.Context, in [2]int) (int, error) { return in[0] + in[1], nil })); err != nil {
		panic(err)
	}
	if _, err := Add.Run(ctx, node, [2]int{1, 2}); err != nil {
		panic(err)
	}
	// Output: attempt 1 of add: <nil>
}

// A handler's lines say which attempt they come from.
func ExampleLogger() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "faena")
	if err != nil {
		panic(err)
	}
	eng, err := embedded.Open(ctx, embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		panic(err)
	}
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "run_id" { // others each time
			return slog.Attr{}
		}
		return a
	}}))
	node, err := faena.Open(ctx, eng, faena.Options{Logger: log})
	if err != nil {
		panic(err)
	}
	defer func() { _ = errors.Join(node.Close(), eng.Close(), os.RemoveAll(dir)) }()
	err = node.Handle(Add.With(func(ctx context.Context, in [2]int) (int, error) {
		faena.Logger(ctx).InfoContext(ctx, "adding", "left", in[0], "right", in[1])
		return in[0] + in[1], nil
	}))
	if err != nil {
		panic(err)
	}
	if _, err := Add.Run(ctx, node, [2]int{1, 2}); err != nil {
		panic(err)
	}
	// Output: level=INFO msg=adding task=add attempt=1 left=1 right=2
}

func ExampleNode_Pause() {
	ctx := context.Background()
	n, done := node()
	defer done()
	if err := n.Pause(ctx, faena.DefaultQueue); err != nil {
		panic(err)
	}
	f, err := Add.Go(ctx, n, [2]int{1, 2}) // is accepted, and waits
	if err != nil {
		panic(err)
	}
	if err := n.Resume(ctx, faena.DefaultQueue); err != nil {
		panic(err)
	}
	fmt.Println(f.Get(ctx))
	// Output: 3 <nil>
}

func ExampleNode_CancelAll() {
	ctx := context.Background()
	n, done := node()
	defer done()
	for i := range 3 {
		if _, err := Add.Go(ctx, n, [2]int{i, i}, faena.In(time.Hour), faena.Tags("tenant", "a")); err != nil {
			panic(err)
		}
	}
	fmt.Println(n.CancelAll(ctx, faena.Query{Tags: []faena.Tag{{Key: "tenant", Value: "a"}}}))
	// Output: 3 <nil>
}

func ExampleNode_Counts() {
	ctx := context.Background()
	n, done := node()
	defer done()
	if _, err := Add.Run(ctx, n, [2]int{1, 2}); err != nil {
		panic(err)
	}
	counts, err := n.Counts(ctx)
	if err != nil {
		panic(err)
	}
	for _, c := range counts {
		fmt.Println(c.Task, c.State, c.N)
	}
	// Output: add succeeded 1
}

// Two nodes as two programs: one owns the data directory, the other connects to
// it, submits, and executes nothing.
func Example_twoPrograms() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "faena")
	if err != nil {
		panic(err)
	}
	eng, err := embedded.Open(ctx, embedded.Options{Dir: dir, Durability: embedded.Fast, Listen: "127.0.0.1:0"})
	if err != nil {
		panic(err)
	}
	server, err := faena.Open(ctx, eng, faena.Options{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = errors.Join(server.Close(), eng.Close(), os.RemoveAll(dir)) }()
	if err := server.Handle(Add.With(func(_ context.Context, in [2]int) (int, error) { return in[0] + in[1], nil })); err != nil {
		panic(err)
	}

	remote, err := natsengine.Connect(ctx, eng.URL(), natsengine.Options{Token: eng.Secret()})
	if err != nil {
		panic(err)
	}
	client, err := faena.Open(ctx, remote, faena.Options{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = errors.Join(client.Close(), remote.Close()) }()
	fmt.Println(Add.Run(ctx, client, [2]int{40, 2}))
	// Output: 42 <nil>
}
