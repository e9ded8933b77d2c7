// Command hello submits a run, executes it, and prints its result.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
)

// Greet is the contract: a name, what goes in, what comes out.
var Greet = faena.Define[string, string]("greet")

func greet(_ context.Context, name string) (string, error) {
	return "Hello, " + name, nil
}

func main() {
	ctx := context.Background()
	eng, err := embedded.Open(ctx, embedded.Options{Dir: "data"}) // the engine, and where it keeps runs
	check(err)
	node, err := faena.Open(ctx, eng, faena.Options{})
	check(err)
	check(node.Handle(Greet.With(greet)))      // a worker
	text, err := Greet.Run(ctx, node, "world") // on disk before it begins
	check(errors.Join(err, node.Close(), eng.Close()))
	fmt.Println(text)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
