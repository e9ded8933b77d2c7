package faena_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/faena-dev/faena"
)

func ExampleTask_Batch() {
	ctx := context.Background()
	n, done := node()
	defer done()
	futs, err := Add.Batch(ctx, n, [][2]int{{1, 2}, {3, 4}, {5, 6}}) // all are stored, or none
	if err != nil {
		panic(err)
	}
	fmt.Println(faena.All(ctx, futs...))
	// Output: [3 7 11] <nil>
}

func ExampleTask_Map() {
	n, done := node()
	defer done()
	inputs := func(yield func([2]int) bool) { // endless: Map takes what it has room for
		i := 0
		for yield([2]int{i, i}) {
			i++
		}
	}
	var got []int
	for r, err := range Add.Map(context.Background(), n, inputs, faena.Window(4)) {
		if err != nil {
			fmt.Println("input", r.In, err)
			continue
		}
		if got = append(got, r.Out-2*r.Index); len(got) == 10 {
			break // cancels the rest
		}
	}
	fmt.Println(got)
	// Output: [0 0 0 0 0 0 0 0 0 0]
}

func ExampleFirst() {
	ctx := context.Background()
	n, done := node()
	defer done()
	a, err := Add.Go(ctx, n, [2]int{20, 1})
	if err != nil {
		panic(err)
	}
	b, err := Fail.Go(ctx, n, "a mirror is down")
	if err != nil {
		panic(err)
	}
	fmt.Println(faena.First(ctx, a, b))
	// Output: 21 <nil>
}

func ExampleAsCompleted() {
	ctx := context.Background()
	n, done := node()
	defer done()
	futs, err := Add.Batch(ctx, n, [][2]int{{1, 0}, {2, 0}, {3, 0}})
	if err != nil {
		panic(err)
	}
	var got []int
	for f, err := range faena.AsCompleted(ctx, futs...) {
		if err != nil {
			panic(err)
		}
		v, err := f.Get(ctx) // does not wait
		if err != nil {
			panic(err)
		}
		got = append(got, v)
	}
	slices.Sort(got)
	fmt.Println(got)
	// Output: [1 2 3]
}
