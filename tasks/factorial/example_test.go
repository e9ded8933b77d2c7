package factorial_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/tasks/factorial"
)

func ExampleHandlers() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "faena")
	check(err)
	eng, err := embedded.Open(ctx, embedded.Options{Dir: dir, Durability: embedded.Fast})
	check(err)
	node, err := faena.Open(ctx, eng, faena.Options{})
	check(err)
	check(node.Handle(factorial.Handlers(factorial.Options{})...))

	out, err := factorial.Compute.Run(ctx, node, factorial.Input{N: 25})
	check(err)
	fmt.Println(out.Decimal)
	out, err = factorial.Compute.Run(ctx, node, factorial.Input{N: 1_000_000_000, Digits: true})
	check(err)
	fmt.Println(out.Digits)
	check(errors.Join(node.Close(), eng.Close(), os.RemoveAll(dir)))
	// Output:
	// 15511210043330985984000000
	// 8565705523
}

// What would not fit is known before a run is submitted.
func ExampleOptions_Check() {
	err := factorial.Options{Memory: 1 << 30}.Check(factorial.Input{N: 1_000_000_000_000})
	fmt.Println(err)
	err = factorial.Options{}.Check(factorial.Input{N: -1})
	fmt.Println(err)
	// Output:
	// factorial of 1000000000000 needs about 201.3 TiB of memory (its decimal text alone has 10.5 TiB), and 1.0 GiB is available (the memory option): run it where that much is free, or count its digits alone by --digits (in JSON digits)
	// factorial of -1: n is negative: want a whole number from 0 on
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
