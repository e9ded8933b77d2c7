package faena_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

var nap = faena.Define[int, int]("nap")

// napper is a node whose "nap" takes as many seconds as it is told; of negative
// ones it fails.
func napper(t *testing.T) (*loop, *faena.Node) {
	t.Helper()
	l := newLoop(0)
	n := open(t, l, faena.Options{})
	handle(t, n, nap.With(func(ctx context.Context, s int) (int, error) {
		select {
		case <-time.After(time.Duration(max(s, -s)) * time.Second): //nolint:forbidigo // in a bubble
		case <-ctx.Done():
		}
		if s < 0 {
			return 0, errors.New("negative")
		}
		return s, ctx.Err()
	}))
	return l, n
}

func naps(t *testing.T, n *faena.Node, seconds ...int) []*faena.Future[int] {
	t.Helper()
	fs, err := nap.Batch(t.Context(), n, seconds)
	if err != nil {
		t.Fatalf("Batch = %v", err)
	}
	return fs
}

func TestGet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, n := napper(t)
		fs := naps(t, n, 60, -60)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := fs[0].Get(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get with a second's context = %v, want its error", err)
		}
		for range 2 {
			if v, err := fs[0].Get(t.Context()); v != 60 || err != nil {
				t.Errorf("Get = %d, %v, want 60", v, err)
			}
		}
		if v, err := fs[0].Get(short); v != 60 || err != nil {
			t.Errorf("Get of an ended run with an ended context = %d, %v, want 60", v, err)
		}
		_, err := fs[1].Get(t.Context())
		wantCode(t, "Get of a failed run", err, faena.CodeFailed)
		if want := "run nap " + fs[1].ID().String() + ": negative"; err.Error() != want {
			t.Errorf("Get of a failed run = %q, want %q", err, want)
		}
		<-fs[0].Done()

		again, err := faena.Attach[int](t.Context(), n, fs[0].ID())
		if err != nil {
			t.Fatalf("Attach = %v", err)
		}
		if v, err := again.Get(t.Context()); v != 60 || err != nil {
			t.Errorf("Get of an attached run = %d, %v, want 60", v, err)
		}
		other, err := faena.Attach[string](t.Context(), n, fs[0].ID())
		if err != nil {
			t.Fatalf("Attach = %v", err)
		}
		_, err = other.Get(t.Context())
		wantCode(t, "Get of an int as a string", err, faena.CodeInvalid)
		raw, err := faena.Attach[json.RawMessage](t.Context(), n, fs[0].ID())
		if err != nil {
			t.Fatalf("Attach = %v", err)
		}
		if v, err := raw.Get(t.Context()); string(v) != "60" || err != nil {
			t.Errorf("Get as raw JSON = %s, %v, want 60", v, err)
		}
		_, err = faena.Attach[int](t.Context(), n, faena.ID{1})
		wantCode(t, "Attach of an unknown id", err, faena.CodeNotFound)
		l.end(&engine.Record{ID: fs[0].ID(), State: engine.Failed})
		if v, err := fs[0].Get(t.Context()); v != 60 || err != nil {
			t.Errorf("Get after another record = %d, %v, want 60", v, err)
		}
	})
}

func TestErrorsOfRuns(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	l.hold = true
	n := open(t, l, faena.Options{})
	for code, cause := range map[faena.Code]error{
		faena.CodeCancelled: faena.ErrCancelled, faena.CodeTimeout: faena.ErrTimeout, faena.CodeDeadline: faena.ErrDeadline,
		faena.CodePanic: nil,
	} {
		for _, msg := range []string{"", "so it is"} {
			f, err := nap.Go(t.Context(), n, 1)
			if err != nil {
				t.Fatalf("Go = %v", err)
			}
			l.end(&engine.Record{ID: f.ID(), Task: "nap", State: engine.Failed, Failure: &faena.Failure{Code: code, Message: msg, Stack: "here"}})
			_, err = f.Get(t.Context())
			wantCode(t, "Get", err, code)
			if cause != nil && !errors.Is(err, cause) {
				t.Errorf("Get of a run with code %s = %v, which is not %v", code, err, cause)
			}
			if e, ok := errors.AsType[*faena.Error](err); !ok || e.Stack != "here" {
				t.Errorf("Get of a run with code %s = %#v, want its stack", code, err)
			}
		}
	}
}

func TestCancelledFutureResolvesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(0)
		n := open(t, l, faena.Options{})
		deaf := faena.Define[int, int]("deaf")
		handle(t, n, deaf.With(func(context.Context, int) (int, error) { time.Sleep(time.Hour); return 1, nil }))
		begun := time.Now()
		f, err := deaf.Go(t.Context(), n, 1)
		if err != nil {
			t.Fatalf("Go = %v", err)
		}
		synctest.Wait()
		if err := f.Cancel(t.Context()); err != nil {
			t.Errorf("Cancel = %v", err)
		}
		_, err = f.Get(t.Context())
		wantCode(t, "Get", err, faena.CodeCancelled)
		if d := time.Since(begun); d != 0 || !errors.Is(err, faena.ErrCancelled) {
			t.Errorf("Get of a cancelled run = %v after %s, want ErrCancelled at once", err, d)
		}
		fs := naps(t, n)
		if len(fs) != 0 {
			t.Errorf("Batch of nothing = %v, want nothing", fs)
		}
	})
}

func TestClosedNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(0)
		l.hold = true
		n := open(t, l, faena.Options{})
		f, err := nap.Go(t.Context(), n, 1)
		if err != nil {
			t.Fatalf("Go = %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			_ = n.Close()
		}()
		_, err = f.Get(t.Context())
		wantCode(t, "Get when the node closes", err, faena.CodeClosed)
		_, err = faena.All(t.Context(), f)
		wantCode(t, "All", err, faena.CodeClosed)
		_, err = nap.Go(t.Context(), n, 1)
		wantCode(t, "Go", err, faena.CodeClosed)
		_, err = faena.Attach[int](t.Context(), n, f.ID())
		wantCode(t, "Attach", err, faena.CodeClosed)
		wantCode(t, "Handle", n.Handle(nap.With(nil)), faena.CodeClosed)
	})
}

func TestAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, n := napper(t)
		begun := time.Now()
		got, err := faena.All(t.Context(), naps(t, n, 3, 1, 2)...)
		if d := cmp.Diff([]int{3, 1, 2}, got); d != "" || err != nil {
			t.Errorf("All = %v, %v (-want +got)\n%s", got, err, d)
		}
		if d := time.Since(begun); d != 3*time.Second {
			t.Errorf("All took %s, want 3s", d)
		}
		begun = time.Now()
		_, err = faena.All(t.Context(), naps(t, n, 60, -2, -1)...)
		wantCode(t, "All with failures", err, faena.CodeFailed)
		if d := time.Since(begun); d != time.Second {
			t.Errorf("All took %s, want the 1s of the first to fail", d)
		}
		if got, err := faena.All[int](t.Context()); len(got) != 0 || err != nil {
			t.Errorf("All of nothing = %v, %v, want nothing", got, err)
		}
	})
}

func TestFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, n := napper(t)
		begun := time.Now()
		if v, err := faena.First(t.Context(), naps(t, n, 3, -1, 2)...); v != 2 || err != nil {
			t.Errorf("First = %d, %v, want 2", v, err)
		}
		if d := time.Since(begun); d != 2*time.Second {
			t.Errorf("First took %s, want 2s", d)
		}
		_, err := faena.First(t.Context(), naps(t, n, -3, -1)...)
		wantCode(t, "First of failures", err, faena.CodeFailed)
		if u, ok := err.(interface{ Unwrap() []error }); !ok || len(u.Unwrap()) != 2 {
			t.Errorf("First of two failures = %v, want both", err)
		}
		_, err = faena.First[int](t.Context())
		wantCode(t, "First of nothing", err, faena.CodeInvalid)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := faena.First(short, naps(t, n, 60)...); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("First within a second = %v, want the context's error", err)
		}
	})
}

func TestAsCompleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, n := napper(t)
		fs := naps(t, n, 3, -1, 2, 60)
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var order []int
		for f, err := range faena.AsCompleted(short, append(fs, fs[0])...) {
			i := slices.Index(fs, f)
			order = append(order, i)
			switch {
			case i == 1:
				wantCode(t, "the failed one", err, faena.CodeFailed)
			case i == 3:
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the last one came with %v, want the context's error", err)
				}
			case err != nil:
				t.Errorf("future %d came with %v", i, err)
			}
		}
		if d := cmp.Diff([]int{1, 2, 0, 0, 3}, order); d != "" {
			t.Errorf("order (-want +got)\n%s", d)
		}
		left := len(fs)
		for _, err := range faena.AsCompleted(t.Context(), fs[:3]...) {
			if left--; err == nil {
				break
			}
		}
		if left < 2 {
			t.Errorf("%d futures are left after the first that succeeded, want at least 2 of 4", left)
		}
	})
}

func TestMap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, n := napper(t)
		taken := 0
		inputs := func(yield func(int) bool) {
			for _, s := range []int{5, -1, 3, 1, 1} {
				taken++
				if !yield(s) {
					return
				}
			}
		}
		var got []faena.Result[int, int]
		for r, err := range nap.Map(t.Context(), n, inputs, faena.Window(2)) {
			if open := taken - len(got); open > 2 {
				t.Errorf("%d runs are under way, want at most 2", open)
			}
			if (err != nil) != (r.In < 0) || r.ID.IsZero() {
				t.Errorf("result %+v, error %v", r, err)
			}
			r.ID = faena.ID{}
			got = append(got, r)
		}
		want := []faena.Result[int, int]{{Index: 1, In: -1}, {Index: 2, In: 3, Out: 3}, {Index: 0, In: 5, Out: 5}, {Index: 3, In: 1, Out: 1}, {Index: 4, In: 1, Out: 1}}
		if d := cmp.Diff(want, got, cmp.Transformer("sorted", func(rs []faena.Result[int, int]) map[int]int {
			m := map[int]int{}
			for _, r := range rs {
				m[r.Index] = r.Out
			}
			return m
		})); d != "" {
			t.Errorf("results (-want +got)\n%s", d)
		}
		if got[0].Index != 1 {
			t.Errorf("the first result is of input %d, want 1, the first to end", got[0].Index)
		}
	})
}

func TestMapSubmitsTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, n := napper(t)
		inputs := slices.Values(make([]int, 1000))
		drain(t, nap.Map(t.Context(), n, inputs, faena.Window(1000)))
		if l.calls != 1 {
			t.Errorf("1000 inputs were submitted in %d calls, want 1", l.calls)
		}
		l.calls = 0
		slow := func(yield func(int) bool) {
			for range 3 {
				time.Sleep(time.Second)
				yield(0)
			}
		}
		drain(t, nap.Map(t.Context(), n, slow))
		if l.calls != 3 {
			t.Errorf("3 slow inputs were submitted in %d calls, want 3", l.calls)
		}
	})
}

func TestMapEndsEarly(t *testing.T) {
	t.Parallel()
	for name, ctxEnds := range map[string]bool{"break": false, "context": true} {
		synctest.Test(t, func(t *testing.T) {
			l, n := napper(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := false
			endless := func(yield func(int) bool) {
				defer func() { ended = true }()
				i := 1
				for yield(i) {
					i++
				}
			}
			left := 0
			for r, err := range nap.Map(ctx, n, endless, faena.Window(3)) {
				switch {
				case !ctxEnds:
				case r.In == 1:
					cancel()
					continue
				case errors.Is(err, context.Canceled):
					left++
					continue
				}
				break
			}
			if ctxEnds && left == 0 {
				t.Errorf("%s: nothing came with the context's error", name)
			}
			if !ended || len(l.cancels) < 2 {
				t.Errorf("%s: the sequence was ended: %v; %d runs were cancelled, want at least 2", name, ended, len(l.cancels))
			}
		})
	}
}

func TestMapOfWhatCannotBeSubmitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(0)
		n := open(t, l, faena.Options{MaxInput: 10})
		echo := faena.Define[string, string]("echo")
		handle(t, n, echo.With(func(_ context.Context, s string) (string, error) { return s, nil }))
		var codes []faena.Code
		for r, err := range echo.Map(t.Context(), n, slices.Values([]string{"a", "far too long", "b"})) {
			codes = append(codes, faena.CodeOf(err))
			if err == nil && r.Out != r.In {
				t.Errorf("%q gave %q", r.In, r.Out)
			}
		}
		slices.Sort(codes)
		if d := cmp.Diff([]faena.Code{"", "", faena.CodeTooLarge}, codes); d != "" {
			t.Errorf("codes (-want +got)\n%s", d)
		}
		l.fail = &faena.Error{Code: faena.CodeUnavailable}
		endless := func(yield func(string) bool) {
			for yield("a") {
			}
		}
		count := 0
		for _, err := range echo.Map(t.Context(), n, endless, faena.Window(5)) {
			wantCode(t, "Map without an engine", err, faena.CodeUnavailable)
			count++
		}
		if count == 0 || count > 5 {
			t.Errorf("Map without an engine yielded %d times, want 1 to 5", count)
		}
		for r, err := range echo.Map(t.Context(), n, endless, faena.Window(0)) {
			wantCode(t, "Map with a wrong option", err, faena.CodeInvalid)
			if r.Index != -1 {
				t.Errorf("it came with input %d, want -1", r.Index)
			}
		}
	})
}

// drain goes through an iteration in which no run fails.
func drain(t *testing.T, runs iter.Seq2[faena.Result[int, int], error]) {
	t.Helper()
	for r, err := range runs {
		if err != nil {
			t.Errorf("run %d: %v", r.Index, err)
		}
	}
}
