package faena_test

import (
	"context"
	"slices"
	"testing"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

// A nil node was a nil dereference inside of faena.
func TestNilNodeIsRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	task := faena.Define[int, int]("same")
	var id faena.ID
	for which, n := range map[string]*faena.Node{"nil": nil, "zero": new(faena.Node)} {
		for name, call := range map[string]func() error{
			"Go":          func() error { _, err := task.Go(ctx, n, 1); return err },
			"Run":         func() error { _, err := task.Run(ctx, n, 1); return err },
			"Batch":       func() error { _, err := task.Batch(ctx, n, []int{1}); return err },
			"Map":         func() error { return firstError(task.Map(ctx, n, slices.Values([]int{1}))) },
			"Child":       func() error { _, _, err := task.Child(ctx, n, id, "a"); return err },
			"Attach":      func() error { _, err := faena.Attach[int](ctx, n, id); return err },
			"Submit":      func() error { _, err := n.Submit(ctx, "same", nil); return err },
			"SubmitBatch": func() error { _, err := n.SubmitBatch(ctx, "same", nil); return err },
			"Handle":      func() error { n.Use(nil); return n.Handle(task.With(same)) },
			"Get":         func() error { _, err := n.Get(ctx, id); return err },
			"Page":        func() error { _, err := n.Page(ctx, faena.Query{}); return err },
			"List":        func() error { return firstError(n.List(ctx, faena.Query{})) },
			"Watch":       func() error { return firstError(n.Watch(ctx, id)) },
			"Counts":      func() error { _, err := n.Counts(ctx); return err },
			"Queues":      func() error { _, err := n.Queues(ctx); return err },
			"Nodes":       func() error { _, err := n.Nodes(ctx); return err },
			"Status":      func() error { _, err := n.Status(ctx); return err },
			"Pause":       func() error { return n.Pause(ctx, "q") },
			"Resume":      func() error { return n.Resume(ctx, "q") },
			"Input":       func() error { _, err := n.Input(ctx, id); return err },
			"Output":      func() error { _, err := n.Output(ctx, id); return err },
			"Cancel":      func() error { _, err := n.Cancel(ctx, id); return err },
			"CancelAll":   func() error { _, err := n.CancelAll(ctx, faena.Query{}); return err },
			"Retry":       func() error { _, err := n.Retry(ctx, id); return err },
			"RetryAll":    func() error { _, err := n.RetryAll(ctx, faena.Query{}); return err },
			"Close":       func() error { return n.Close() },
		} {
			wantCode(t, name+" of a "+which+" node", call(), faena.CodeInvalid)
		}
	}
}

func firstError[T any](seq func(yield func(T, error) bool)) error {
	for _, err := range seq {
		return err
	}
	return nil
}

// A nil future among others was a nil dereference.
func TestNilFutureIsRefused(t *testing.T) {
	t.Parallel()
	n := open(t, newLoop(1), faena.Options{})
	task := faena.Define[int, int]("same")
	handle(t, n, task.With(same))
	good, err := task.Go(t.Context(), n, 7)
	if err != nil {
		t.Fatal(err)
	}
	for which, bad := range map[string]*faena.Future[int]{"nil": nil, "zero": {}} {
		_, err = faena.All(t.Context(), good, bad)
		wantCode(t, "All with a "+which+" future", err, faena.CodeInvalid)
		_, err = faena.First(t.Context(), bad, good)
		wantCode(t, "First with a "+which+" future", err, faena.CodeInvalid)
		_, err = bad.Get(t.Context())
		wantCode(t, "Get of a "+which+" future", err, faena.CodeInvalid)
		wantCode(t, "Cancel of a "+which+" future", bad.Cancel(t.Context()), faena.CodeInvalid)
		var got []*faena.Future[int]
		for f, err := range faena.AsCompleted(t.Context(), bad, good, bad) {
			if got = append(got, f); f == good {
				wantCode(t, "AsCompleted", err, "")
			} else {
				wantCode(t, "AsCompleted of a "+which+" future", err, faena.CodeInvalid)
			}
		}
		if want := []*faena.Future[int]{bad, bad, good}; !slices.Equal(got, want) {
			t.Errorf("AsCompleted = %v, want %v", got, want)
		}
	}
}

// An engine that is nil behind its interface was a nil dereference.
func TestNilEngineIsRefused(t *testing.T) {
	t.Parallel()
	for which, eng := range map[string]engine.Engine{"nil": nil, "typed nil": (*loop)(nil)} {
		_, err := faena.Open(t.Context(), eng, faena.Options{})
		wantCode(t, "Open of a "+which+" engine", err, faena.CodeInvalid)
	}
}

// The goroutine that reads the sequence panicked.
func TestMapOfANilSequence(t *testing.T) {
	t.Parallel()
	n := open(t, newLoop(1), faena.Options{})
	err := firstError(faena.Define[int, int]("same").Map(context.Background(), n, nil))
	wantCode(t, "Map of a nil sequence", err, faena.CodeInvalid)
}
