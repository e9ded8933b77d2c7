package faena_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

var (
	childTask = faena.Define[int, int]("child")
	otherTask = faena.Define[int, int]("other")
)

// family is a node whose "parent" does what fn says.
func family(t *testing.T, fn func(ctx context.Context, n *faena.Node) error) *loop {
	t.Helper()
	l := newLoop(0)
	n := open(t, l, faena.Options{})
	double := func(_ context.Context, i int) (int, error) {
		if i < 0 {
			return 0, errors.New("negative")
		}
		return 2 * i, nil
	}
	handle(t, n, childTask.With(double), otherTask.With(double),
		faena.Define[int, int]("parent").With(func(ctx context.Context, _ int) (int, error) { return 0, fn(ctx, n) }))
	return l
}

// parent makes the attempt of that number.
func (l *loop) parent(ctx context.Context, attempt uint16) engine.Outcome {
	id, _ := faena.ParseID("01hzzzzzzzzzzzzzzzzzzzzzzw")
	return try(l, ctx, &engine.Run{ID: id, Task: "parent", Attempt: attempt, Trace: "00-abc"})
}

func TestChildrenAreFoundAgain(t *testing.T) {
	t.Parallel()
	var got [][]int
	l := family(t, func(ctx context.Context, n *faena.Node) error {
		var fs []*faena.Future[int]
		for _, i := range []int{1, 1, 2} {
			f, err := childTask.Go(ctx, n, i)
			if err != nil {
				return err
			}
			fs = append(fs, f)
		}
		f, err := otherTask.Go(ctx, n, 1)
		if err != nil {
			return err
		}
		batch, err := childTask.Batch(ctx, n, []int{1, 9})
		if err != nil {
			return err
		}
		named, err := childTask.Go(ctx, n, 1, faena.Named("a"))
		if err != nil {
			return err
		}
		out, err := faena.All(ctx, append(append(fs, f, named), batch...)...)
		got = append(got, out)
		return err
	})
	for attempt := range uint16(3) {
		if o := l.parent(t.Context(), attempt); o.Failure != nil {
			t.Fatalf("attempt %d: %v", attempt, o.Failure.Message)
		}
	}
	want := []int{2, 2, 4, 2, 2, 2, 18}
	if d := cmp.Diff([][]int{want, want, want}, got); d != "" {
		t.Errorf("results of the three attempts (-want +got)\n%s", d)
	}
	seen := map[faena.ID]bool{}
	for _, r := range l.runs {
		if seen[r.ID] || r.Parent.IsZero() || r.Trace != "00-abc" || r.Doubt {
			t.Errorf("child %s of %s, trace %q, doubt %v: want another id, a parent, the parent's trace, no doubt", r.ID, r.Parent, r.Trace, r.Doubt)
		}
		seen[r.ID] = true
	}
	if len(l.runs) != len(want) {
		t.Errorf("%d children were submitted, want %d", len(l.runs), len(want))
	}
}

func TestConcurrentChildrenKeepTheirResults(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	byInput := map[int]map[faena.ID]bool{}
	l := family(t, func(ctx context.Context, n *faena.Node) error {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				f, err := childTask.Go(ctx, n, i)
				if err != nil {
					t.Errorf("Go(%d) = %v", i, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if byInput[i] == nil {
					byInput[i] = map[faena.ID]bool{}
				}
				byInput[i][f.ID()] = true
			})
		}
		wg.Wait()
		return nil
	})
	l.parent(t.Context(), 0)
	l.parent(t.Context(), 1)
	for i, ids := range byInput {
		if len(ids) != 1 {
			t.Errorf("child %d had %d ids in two attempts, want 1", i, len(ids))
		}
	}
}

func TestFailedChildrenAreNewRuns(t *testing.T) {
	t.Parallel()
	var ids []faena.ID
	l := family(t, func(ctx context.Context, n *faena.Node) error {
		f, err := childTask.Go(ctx, n, -1)
		if err != nil {
			return err
		}
		ids = append(ids, f.ID())
		_, err = f.Get(ctx)
		return err
	})
	for attempt := range uint16(3) {
		o := l.parent(t.Context(), attempt)
		if o.Failure == nil || o.Failure.Code != faena.CodeFailed {
			t.Errorf("attempt %d = %+v, want the child's failure", attempt, o)
		}
	}
	slices.SortFunc(ids, func(a, b faena.ID) int { return slices.Compare(a[:], b[:]) })
	if n := len(slices.Compact(ids)); n != 3 {
		t.Errorf("three attempts made %d runs of a failing child, want 3", n)
	}
	if l.runs[0].Doubt || !l.runs[1].Doubt || !l.runs[2].Doubt {
		t.Errorf("in doubt: %v %v %v, want only those of later attempts", l.runs[0].Doubt, l.runs[1].Doubt, l.runs[2].Doubt)
	}
}

func TestRetriedChildIsFollowed(t *testing.T) {
	t.Parallel()
	var ids []faena.ID
	l := family(t, func(ctx context.Context, n *faena.Node) error {
		f, err := childTask.Go(ctx, n, 3)
		if err == nil {
			ids = append(ids, f.ID())
		}
		return err
	})
	l.hold = true
	l.parent(t.Context(), 0)
	retry, gone := faena.ID{1}, faena.ID{2}
	l.known[ids[0]].State, l.known[ids[0]].RetriedBy = engine.Failed, retry.String()
	l.known[retry] = &engine.Info{ID: retry, Task: "child", State: engine.Running}
	l.parent(t.Context(), 1)
	if ids[1] != retry {
		t.Errorf("the second attempt got child %s, want the retry %s", ids[1], retry)
	}
	l.known[ids[0]].RetriedBy = gone.String()
	l.parent(t.Context(), 2)
	if ids[2] == gone || ids[2] == ids[0] {
		t.Errorf("with the retry forgotten the child is %s, want a new one", ids[2])
	}
}

func TestNamedChildren(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		task  faena.Task[int, int]
		input int
	}{"input": {childTask, 2}, "task": {otherTask, 1}} {
		var within error
		attempt := 0
		l := family(t, func(ctx context.Context, n *faena.Node) error {
			attempt++
			if attempt == 2 {
				_, err := c.task.Go(ctx, n, c.input, faena.Named("x"))
				return err
			}
			first, err := childTask.Go(ctx, n, 1, faena.Named("x"))
			if err != nil {
				return err
			}
			again, err := childTask.Go(ctx, n, 1, faena.Named("x"))
			if err != nil {
				return err
			}
			if first.ID() != again.ID() {
				t.Errorf("%s: the same name gave %s and %s, want one run", name, first.ID(), again.ID())
			}
			_, within = c.task.Go(ctx, n, c.input, faena.Named("x"))
			return nil
		})
		if o := l.parent(t.Context(), 0); o.Failure != nil {
			t.Fatalf("%s: first attempt: %v", name, o.Failure)
		}
		wantCode(t, name+": another child of the same name in one attempt", within, faena.CodeConflict)
		if o := l.parent(t.Context(), 1); o.Failure == nil {
			t.Errorf("%s: another child of the same name in the next attempt was taken", name)
		}
	}
}

func TestLostAnswerOfSubmitIsRepeatedInDoubt(t *testing.T) {
	t.Parallel()
	var l *loop
	l = family(t, func(ctx context.Context, n *faena.Node) error {
		if faena.Attempt(ctx) == 1 {
			l.fail = errors.New("no answer")
			_, err := childTask.Go(ctx, n, 1)
			wantCode(t, "Go", err, faena.CodeInternal)
			l.fail = nil
		}
		_, err := childTask.Run(ctx, n, 1)
		return err
	})
	if o := l.parent(t.Context(), 0); o.Failure != nil {
		t.Fatalf("parent: %v", o.Failure)
	}
	ids := len(l.runs)
	l.parent(t.Context(), 1)
	if !l.runs[0].Doubt || len(l.runs) != ids {
		t.Errorf("doubt %v, %d more runs in the next attempt; want doubt and none", l.runs[0].Doubt, len(l.runs)-ids)
	}
}

func TestCancellingAParentCancelsItsChildren(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var open, detached faena.ID
		var late error
		l := family(t, func(ctx context.Context, n *faena.Node) error {
			a, err := childTask.Go(ctx, n, 1)
			if err != nil {
				return err
			}
			b, err := childTask.Go(ctx, n, 2, faena.Detached())
			if err != nil {
				return err
			}
			open, detached = a.ID(), b.ID()
			_, err = a.Get(ctx)
			_, late = childTask.Go(ctx, n, 3)
			return err
		})
		l.hold = true
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			synctest.Wait()
			cancel(faena.ErrCancelled)
		}()
		if o := l.parent(ctx, 0); o.Failure == nil || o.Failure.Code != faena.CodeCancelled {
			t.Errorf("outcome = %+v, want cancelled", o)
		}
		if d := cmp.Diff([]faena.ID{open}, l.cancels); d != "" {
			t.Errorf("cancelled, with %s detached (-want +got)\n%s", detached, d)
		}
		if late == nil {
			t.Error("a cancelled parent could submit another child")
		}
	})
}

func TestInterruptedParentLeavesItsChildren(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := family(t, func(ctx context.Context, n *faena.Node) error {
			for _, err := range childTask.Map(ctx, n, slices.Values([]int{1, 2})) {
				if !errors.Is(err, faena.ErrShutdown) {
					t.Errorf("Map yielded %v, want the shutdown", err)
				}
			}
			return ctx.Err()
		})
		l.hold = true
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			synctest.Wait()
			cancel(faena.ErrShutdown)
		}()
		if o := l.parent(ctx, 0); !o.Interrupted {
			t.Errorf("outcome = %+v, want interrupted", o)
		}
		if len(l.runs) != 2 || len(l.cancels) != 0 {
			t.Errorf("%d children, cancelled %v; want 2 and none", len(l.runs), l.cancels)
		}
	})
}

func TestUntypedChildren(t *testing.T) {
	t.Parallel()
	var ids [2]faena.ID
	attempt := 0
	l := family(t, func(ctx context.Context, n *faena.Node) (err error) {
		ids[attempt], err = n.Submit(ctx, "child", json.RawMessage("4"))
		attempt++
		return err
	})
	l.parent(t.Context(), 0)
	l.parent(t.Context(), 1)
	if ids[0] != ids[1] || ids[0].IsZero() || len(l.runs) != 1 {
		t.Errorf("Submit in two attempts gave %s and %s, %d runs; want one", ids[0], ids[1], len(l.runs))
	}
}

func TestNamedChildIsFoundWithoutItsInput(t *testing.T) {
	t.Parallel()
	var (
		node  *faena.Node
		self  faena.ID
		input = 4
	)
	l := family(t, func(ctx context.Context, n *faena.Node) error {
		node, self = n, faena.RunID(ctx)
		_, err := childTask.Run(ctx, n, input, faena.Named("a"))
		return err
	})
	find := func(name string) (*faena.Future[int], bool) {
		f, ok, err := childTask.Child(t.Context(), node, self, name)
		if err != nil {
			t.Fatalf("Child(%q) = %v", name, err)
		}
		return f, ok
	}
	if o := l.parent(t.Context(), 0); o.Failure != nil {
		t.Fatalf("parent: %v", o.Failure)
	}
	f, ok := find("a")
	if !ok || f.ID() != l.runs[0].ID {
		t.Fatalf("Child(a) = %v, %v, want run %s", f, ok, l.runs[0].ID)
	}
	if v, err := f.Get(t.Context()); v != 8 || err != nil {
		t.Errorf("Get = %d, %v, want 8", v, err)
	}
	if f, ok := find("b"); ok {
		t.Errorf("Child(b) = %s, want none", f.ID())
	}
	_, _, err := otherTask.Child(t.Context(), node, self, "a")
	wantCode(t, "Child of another task", err, faena.CodeConflict)
	if len(l.runs) != 1 {
		t.Errorf("%d children, want 1: looking submits none", len(l.runs))
	}
}

// The place of a child that failed has another run in the parent's next attempt.
func TestChildIsTheLastInItsPlace(t *testing.T) {
	t.Parallel()
	var (
		node *faena.Node
		self faena.ID
	)
	l := family(t, func(ctx context.Context, n *faena.Node) error {
		node, self = n, faena.RunID(ctx)
		_, err := childTask.Run(ctx, n, -1, faena.Named("a"))
		return err
	})
	child := func() *faena.Future[int] {
		f, ok, err := childTask.Child(t.Context(), node, self, "a")
		if !ok || err != nil {
			t.Fatalf("Child = %v, %v", ok, err)
		}
		return f
	}
	for attempt := range uint16(2) {
		l.parent(t.Context(), attempt)
		f := child()
		if want := l.runs[attempt].ID; f.ID() != want {
			t.Errorf("after attempt %d Child is %s, want %s", attempt, f.ID(), want)
		}
		_, err := f.Get(t.Context())
		wantCode(t, "Get", err, faena.CodeFailed)
	}
	retry := faena.ID{1}
	l.known[l.runs[1].ID].RetriedBy = retry.String()
	l.known[retry] = &engine.Info{ID: retry, Task: "child", State: engine.Running}
	if f := child(); f.ID() != retry {
		t.Errorf("Child is %s, want the retry %s", f.ID(), retry)
	}
	delete(l.known, retry) // forgotten
	if f := child(); f.ID() != l.runs[1].ID {
		t.Errorf("with the retry forgotten Child is %s, want %s", f.ID(), l.runs[1].ID)
	}
}

// What a Map had under way when its handler's time was up is left for the next
// attempt, if there is one.
func TestMapOfAnAttemptWhoseTimeIsUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		run    engine.Run
		then   func(error) error // what the handler makes of it
		cancel bool
	}{
		{"a timeout with an attempt left", engine.Run{Timeout: time.Second, Retry: engine.Retry{Attempts: 2}}, nil, false},
		{"a timeout with an attempt left, and success", engine.Run{Timeout: time.Second, Retry: engine.Retry{Attempts: 2}}, func(error) error { return nil }, true},
		{"a timeout with an attempt left, and no retry", engine.Run{Timeout: time.Second, Retry: engine.Retry{Attempts: 2}}, faena.Permanent, true},
		{"a timeout with an attempt left after the deadline", engine.Run{Timeout: time.Second, Deadline: 2, Retry: engine.Retry{Attempts: 2, Base: time.Minute}}, nil, true},
		{"the last attempt's timeout", engine.Run{Timeout: time.Second, Attempt: 1, Retry: engine.Retry{Attempts: 2}}, nil, true},
		{"the deadline", engine.Run{Deadline: 1, Retry: engine.Retry{Attempts: 2}}, nil, true},
		{"a time of the handler's own", engine.Run{Retry: engine.Retry{Attempts: 2}}, nil, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := family(t, func(ctx context.Context, n *faena.Node) error {
				if c.run.Timeout == 0 && c.run.Deadline == 0 {
					var stop context.CancelFunc
					ctx, stop = context.WithTimeout(ctx, time.Second)
					defer stop()
				}
				for _, err := range childTask.Map(ctx, n, slices.Values([]int{1, 2})) {
					if err != nil && c.then != nil {
						return c.then(err)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			l.hold = true
			run := c.run
			run.ID, run.Task = faena.ID{1}, "parent"
			if run.Deadline != 0 {
				run.Deadline = time.Now().Add(time.Duration(run.Deadline) * time.Second).UnixMilli()
			}
			try(l, t.Context(), &run)
			if got := len(l.cancels) > 0; got != c.cancel {
				t.Errorf("%s: children were cancelled: %v, want %v", c.name, got, c.cancel)
			}
		})
	}
}
