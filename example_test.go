package faena_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
)

// Page and Words are what travels: plain structs, as JSON.
type (
	Page  struct{ Text string }
	Words struct{ Count int }
)

// A contract is a package variable; client and worker may be two programs.
var CountWords = faena.Define[Page, Words]("count-words", faena.Retry(3, time.Second), faena.Timeout(30*time.Second))

// Add and Fail serve the examples below.
var (
	Add  = faena.Define[[2]int, int]("add")
	Fail = faena.Define[string, int]("fail", faena.Retry(1, 0))
	Sum  = faena.Define[int, int]("sum")
)

// node gives a node that executes the examples' tasks, on an engine of its own.
func node() (*faena.Node, func()) {
	dir, err := os.MkdirTemp("", "faena")
	if err != nil {
		panic(err)
	}
	eng, err := embedded.Open(context.Background(), embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		panic(err)
	}
	n, err := faena.Open(context.Background(), eng, faena.Options{Slots: 1})
	if err != nil {
		panic(err)
	}
	err = n.Handle(
		CountWords.With(func(_ context.Context, p Page) (Words, error) {
			w := Words{}
			for i := range len(p.Text) {
				if p.Text[i] == ' ' {
					w.Count++
				}
			}
			w.Count++
			return w, nil
		}),
		Add.With(func(_ context.Context, in [2]int) (int, error) { return in[0] + in[1], nil }),
		Fail.With(func(_ context.Context, why string) (int, error) { return 0, faena.Permanent(errors.New(why)) }),
		// Sum adds the numbers up to in by asking for the sum up to in-1 first.
		Sum.With(func(ctx context.Context, in int) (int, error) {
			if in == 0 {
				return 0, nil
			}
			rest, err := Sum.Run(ctx, n, in-1)
			return in + rest, err
		}),
	)
	if err != nil {
		panic(err)
	}
	return n, func() {
		if err := errors.Join(n.Close(), eng.Close(), os.RemoveAll(dir)); err != nil {
			panic(err)
		}
	}
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "faena")
	if err != nil {
		panic(err)
	}

	eng, err := embedded.Open(ctx, embedded.Options{Dir: dir, Durability: embedded.Fast})
	if err != nil {
		panic(err)
	}
	node, err := faena.Open(ctx, eng, faena.Options{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = errors.Join(node.Close(), eng.Close(), os.RemoveAll(dir)) }()

	greet := faena.Define[string, string]("greet")
	err = node.Handle(greet.With(func(_ context.Context, name string) (string, error) {
		return "Hello, " + name, nil
	}))
	if err != nil {
		panic(err)
	}

	fut, err := greet.Go(ctx, node, "world") // stored when it returns
	if err != nil {
		panic(err)
	}
	text, err := fut.Get(ctx)
	fmt.Println(text, err)
	// Output: Hello, world <nil>
}

func ExampleTask_Run() {
	n, done := node()
	defer done()
	w, err := CountWords.Run(context.Background(), n, Page{"to be or not to be"})
	fmt.Println(w.Count, err)
	// Output: 6 <nil>
}

func ExampleAttach() {
	ctx := context.Background()
	n, done := node()
	defer done()
	fut, err := Add.Go(ctx, n, [2]int{2, 3})
	if err != nil {
		panic(err)
	}
	id := fut.ID().String() // kept anywhere, read by any process

	parsed, err := faena.ParseID(id)
	if err != nil {
		panic(err)
	}
	again, err := faena.Attach[int](ctx, n, parsed)
	if err != nil {
		panic(err)
	}
	fmt.Println(again.Get(ctx))
	// Output: 5 <nil>
}

func ExamplePermanent() {
	n, done := node()
	defer done()
	_, err := Fail.Run(context.Background(), n, "no such page")
	fmt.Println(faena.CodeOf(err))
	// Output: permanent
}

func ExampleIn() {
	ctx := context.Background()
	n, done := node()
	defer done()
	fut, err := Add.Go(ctx, n, [2]int{1, 1}, faena.In(time.Hour), faena.Tags("tenant", "a"))
	if err != nil {
		panic(err)
	}
	if err := fut.Cancel(ctx); err != nil {
		panic(err)
	}
	_, err = fut.Get(ctx)
	fmt.Println(errors.Is(err, faena.ErrCancelled))
	// Output: true
}

// A handler that waits for other runs gives its slot back meanwhile: this one
// waits at ten levels on a node with a single slot.
func ExampleFuture_Get() {
	n, done := node()
	defer done()
	fmt.Println(Sum.Run(context.Background(), n, 10))
	// Output: 55 <nil>
}

func ExampleNode_Use() {
	n, done := node()
	defer done()
	n.Use(func(next faena.Next) faena.Next {
		return func(ctx context.Context, c *faena.Call) (json.RawMessage, error) {
			raw, err := next(ctx, c)
			fmt.Println(c.Task(), "gave", string(raw))
			return raw, err
		}
	})
	fmt.Println(Add.Run(context.Background(), n, [2]int{2, 2}))
	// Output:
	// add gave 4
	// 4 <nil>
}
