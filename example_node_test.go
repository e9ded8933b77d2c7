package faena_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

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

func ExampleNode_SubmitBatch() {
	ctx := context.Background()
	n, done := node()
	defer done()
	ids, err := n.SubmitBatch(ctx, "add", []json.RawMessage{[]byte("[1,2]"), []byte("[3,4]")}) // all are stored, or none
	if err != nil {
		panic(err)
	}
	for _, id := range ids {
		f, err := faena.Attach[int](ctx, n, id)
		if err != nil {
			panic(err)
		}
		fmt.Println(f.Get(ctx))
	}
	// Output:
	// 3 <nil>
	// 7 <nil>
}

func ExampleNode_Page() {
	ctx := context.Background()
	n, done := node()
	defer done()
	for i := range 5 {
		if _, err := Add.Run(ctx, n, [2]int{i, i}); err != nil {
			panic(err)
		}
	}
	q := faena.Query{Task: "add", Limit: 2}
	for {
		page, err := n.Page(ctx, q)
		if err != nil {
			panic(err)
		}
		fmt.Println(len(page.Runs))
		if page.Next == "" {
			break
		}
		q.Cursor = page.Next
	}
	// Output:
	// 2
	// 2
	// 1
}

func ExampleNode_Cancel() {
	ctx := context.Background()
	n, done := node()
	defer done()
	open, err := Add.Go(ctx, n, [2]int{1, 2}, faena.In(time.Hour))
	if err != nil {
		panic(err)
	}
	ended, err := Add.Go(ctx, n, [2]int{3, 4})
	if err != nil {
		panic(err)
	}
	if _, err := ended.Get(ctx); err != nil {
		panic(err)
	}
	fmt.Println(n.Cancel(ctx, open.ID(), ended.ID())) // the states that hold now
	// Output: [cancelled succeeded] <nil>
}

// A failed run is retried as a new one.
func ExampleNode_Retry() {
	ctx := context.Background()
	n, done := node()
	defer done()
	mended := false
	report := faena.Define[string, string]("report", faena.Retry(1, 0))
	err := n.Handle(report.With(func(_ context.Context, in string) (string, error) {
		if !mended {
			return "", faena.Permanent(fmt.Errorf("no template for %s", in))
		}
		return in + " is written", nil
	}))
	if err != nil {
		panic(err)
	}
	f, err := report.Go(ctx, n, "May")
	if err != nil {
		panic(err)
	}
	_, err = f.Get(ctx)
	fmt.Println(faena.CodeOf(err))
	mended = true
	ids, err := n.Retry(ctx, f.ID())
	if err != nil {
		panic(err)
	}
	again, err := faena.Attach[string](ctx, n, ids[0])
	if err != nil {
		panic(err)
	}
	fmt.Println(again.Get(ctx))
	// Output:
	// permanent
	// May is written <nil>
}

func ExampleNode_Queues() {
	ctx := context.Background()
	n, done := node()
	defer done()
	if err := n.Pause(ctx, faena.DefaultQueue); err != nil {
		panic(err)
	}
	if _, err := Add.Go(ctx, n, [2]int{1, 2}); err != nil {
		panic(err)
	}
	queues, err := n.Queues(ctx)
	if err != nil {
		panic(err)
	}
	for _, q := range queues {
		fmt.Println(q.Name, q.Paused, q.Workers, q.Counts)
	}
	// Output: default true 1 map[queued:1]
}

func ExampleNode_Status() {
	ctx := context.Background()
	n, done := node()
	defer done()
	status, err := n.Status(ctx)
	if err != nil {
		panic(err)
	}
	nodes, err := n.Nodes(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println(status.Engine, status.Durability, status.Accepting, len(nodes))
	// Output: embedded fast true 1
}
