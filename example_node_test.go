package faena_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/faena-dev/faena"
)

// Without its contract a task is submitted by name, with JSON.
func ExampleNode_Submit() {
	ctx := context.Background()
	n, done := node()
	defer done()
	id, err := n.Submit(ctx, "add", json.RawMessage("[3,4]"))
	if err != nil {
		panic(err)
	}
	fut, err := faena.Attach[json.RawMessage](ctx, n, id)
	if err != nil {
		panic(err)
	}
	out, err := fut.Get(ctx)
	fmt.Println(string(out), err)

	_, err = n.Submit(ctx, "divide", json.RawMessage("[3,4]"))
	fmt.Println(faena.CodeOf(err))
	// Output:
	// 7 <nil>
	// unknown_task
}

func ExampleNode_List() {
	ctx := context.Background()
	n, done := node()
	defer done()
	if _, err := Add.Run(ctx, n, [2]int{1, 1}, faena.Tags("tenant", "a")); err != nil {
		panic(err)
	}
	if _, err := Fail.Run(ctx, n, "no disk"); err == nil {
		panic("it did not fail")
	}
	for run, err := range n.List(ctx, faena.Query{}) { // newest first
		if err != nil {
			panic(err)
		}
		fmt.Println(run.Task, run.Tags)
	}
	// Output:
	// fail map[]
	// add map[tenant:a]
}

func ExampleNode_RetryAll() {
	ctx := context.Background()
	n, done := node()
	defer done()
	if _, err := Fail.Run(ctx, n, "no disk"); err == nil {
		panic("it did not fail")
	}
	fmt.Println(n.RetryAll(ctx, faena.Query{Task: "fail"}))
	// Output: 1 <nil>
}

func ExampleNode_Watch() {
	ctx := context.Background()
	n, done := node()
	defer done()
	fut, err := Add.Go(ctx, n, [2]int{1, 1})
	if err != nil {
		panic(err)
	}
	var last faena.State
	for run, err := range n.Watch(ctx, fut.ID()) {
		if err != nil {
			panic(err)
		}
		last = run.State
	}
	fmt.Println(last)
	// Output: succeeded
}
