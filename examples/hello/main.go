// Command hello submits a run, executes it, and prints its result.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
)

var greet = faena.Define[string, string]("greet") // the contract: a name, what goes in, what comes out

func main() {
	ctx := context.Background()
	eng := must(embedded.Open(ctx, embedded.Options{Dir: "data"})) // the engine, and where it keeps runs
	node := must(faena.Open(ctx, eng, faena.Options{}))
	hello := func(_ context.Context, name string) (string, error) { return "Hello, " + name, nil }
	must(node, node.Handle(greet.With(hello)))       // a worker
	fmt.Println(must(greet.Run(ctx, node, "world"))) // on disk before it begins
	must(node, errors.Join(node.Close(), eng.Close()))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
