package faena_test

import (
	"context"
	"testing"

	"github.com/faena-dev/faena"
)

type point struct {
	X, Y int
	Name string
}

// pooled is a loop that reuses goroutines, as an engine should.
func pooled(b *testing.B) *loop {
	b.Helper()
	l := newLoop(0)
	l.keep = false
	l.pool = make(chan func(), 4096)
	for range 2 {
		go func() {
			for f := range l.pool {
				f()
			}
		}()
	}
	b.Cleanup(func() { close(l.pool) })
	return l
}

// The whole of what the root adds to a run on both sides: submit, execute, get.
func BenchmarkRun(b *testing.B) {
	l := pooled(b)
	node, err := faena.Open(context.Background(), l, faena.Options{})
	if err != nil {
		b.Fatal(err)
	}
	task := faena.Define[point, point]("bench")
	if err := node.Handle(task.With(func(_ context.Context, p point) (point, error) { return p, nil })); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := task.Run(context.Background(), node, point{1, 2, "x"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	l := pooled(b)
	node, err := faena.Open(context.Background(), l, faena.Options{})
	if err != nil {
		b.Fatal(err)
	}
	task := faena.Define[point, point]("bench")
	if err := node.Handle(task.With(func(_ context.Context, p point) (point, error) { return p, nil })); err != nil {
		b.Fatal(err)
	}
	in := make([]point, 1000)
	b.ReportAllocs()
	for b.Loop() {
		fs, err := task.Batch(context.Background(), node, in)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := faena.All(context.Background(), fs...); err != nil {
			b.Fatal(err)
		}
	}
}
