package faena_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		def, call []faena.Option
		want      func(r *engine.Run, now time.Time) // what differs from the defaults
	}{
		"defaults": {},
		"all at the definition": {
			def: []faena.Option{
				faena.Queue("q"), faena.Retry(2, time.Minute), faena.RetryCap(time.Hour * 2), faena.Timeout(0),
				faena.ExpireIn(time.Hour), faena.In(time.Minute), faena.Tags("a", "1"), faena.Keep(time.Minute, 1500*time.Millisecond), faena.Detached(),
			},
			want: func(r *engine.Run, now time.Time) {
				*r = engine.Run{
					Queue: "q", Task: "t", Retry: engine.Retry{Attempts: 2, Base: time.Minute, Cap: 2 * time.Hour},
					Deadline: now.Add(time.Hour).UnixMilli(), At: now.Add(time.Minute).UnixMilli(),
					Tags: []faena.Tag{{Key: "a", Value: "1"}}, Keep: [2]uint32{60, 2}, Detached: true, Input: r.Input,
				}
			},
		},
		"the call overrides": {
			def:  []faena.Option{faena.Queue("q"), faena.Retry(2, time.Minute), faena.Tags("a", "1", "b", "2"), faena.In(time.Hour)},
			call: []faena.Option{faena.Queue("r"), faena.Retry(1, 0), faena.Tags("b", "3", "c", "4"), faena.In(0)},
			want: func(r *engine.Run, _ time.Time) {
				r.Queue, r.Retry.Attempts, r.Retry.Base = "r", 1, 0
				r.Tags = []faena.Tag{{Key: "a", Value: "1"}, {Key: "b", Value: "3"}, {Key: "c", Value: "4"}}
			},
		},
		"At after In": {
			def:  []faena.Option{faena.In(time.Hour)},
			call: []faena.Option{faena.At(time.UnixMilli(5e12))},
			want: func(r *engine.Run, _ time.Time) { r.At = 5e12 },
		},
		"At in the past is at once": {call: []faena.Option{faena.At(time.UnixMilli(5))}},
		"no deadline after all": {
			def:  []faena.Option{faena.ExpireIn(time.Hour)},
			call: []faena.Option{faena.Deadline(time.Time{})},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLoop(0)
			l.hold = true
			task := faena.Define[int, int]("t", c.def...)
			if _, err := task.Go(t.Context(), open(t, l, faena.Options{}), 7, c.call...); err != nil {
				t.Fatalf("%s: Go = %v", name, err)
			}
			want := engine.Run{
				Queue: "default", Task: "t", Timeout: time.Hour, Keep: [2]uint32{24 * 3600, 30 * 24 * 3600},
				Retry: engine.Retry{Attempts: 5, Base: time.Second, Cap: time.Hour}, Input: engine.Value{Data: []byte("7")},
			}
			if c.want != nil {
				c.want(&want, time.Now())
			}
			got := l.runs[0]
			if got.ID.IsZero() {
				t.Errorf("%s: the run has no id", name)
			}
			got.ID = faena.ID{}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s: Go submitted (-want +got)\n%s", name, d)
			}
		})
	}
}

func TestTagsAreNotShared(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	l.hold = true
	n := open(t, l, faena.Options{})
	task := faena.Define[int, int]("t", faena.Tags("a", "1"))
	for _, v := range []string{"2", "3"} {
		if _, err := task.Go(t.Context(), n, 7, faena.Tags("a", v, "b", v)); err != nil {
			t.Fatalf("Go = %v", err)
		}
	}
	want := []faena.Tag{{Key: "a", Value: "2"}, {Key: "b", Value: "2"}}
	if d := cmp.Diff(want, l.runs[0].Tags); d != "" {
		t.Errorf("tags of the first run after the second (-want +got)\n%s", d)
	}
}

func TestOptionsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	many := make([]string, 0, 66)
	for i := range 33 {
		many = append(many, string(rune('A'+i)), "")
	}
	for name, o := range map[string]faena.Option{
		"zero":             {},
		"queue":            faena.Queue("a b"),
		"empty queue":      faena.Queue(""),
		"no attempts":      faena.Retry(0, 0),
		"many attempts":    faena.Retry(1<<16, 0),
		"negative wait":    faena.Retry(1, -1),
		"negative cap":     faena.RetryCap(-1),
		"negative timeout": faena.Timeout(-1),
		"negative expiry":  faena.ExpireIn(-1),
		"negative delay":   faena.In(-1),
		"absurd deadline":  faena.Deadline(time.Date(1e9, 1, 1, 0, 0, 0, 0, time.UTC)),
		"absurd start":     faena.At(time.Date(1e9, 1, 1, 0, 0, 0, 0, time.UTC)),
		"odd tags":         faena.Tags("a"),
		"tag without key":  faena.Tags("", "a"),
		"tag not UTF-8":    faena.Tags("a", "\xff"),
		"key not UTF-8":    faena.Tags("\xff", "a"),
		"key with control": faena.Tags("\x00deadline", "1"),
		"long key":         faena.Tags(long, ""),
		"long value":       faena.Tags("a", long),
		"many tags":        faena.Tags(many...),
		"negative keep":    faena.Keep(0, -1),
		"unnamed":          faena.Named(""),
		"long name":        faena.Named(long),
		"no window":        faena.Window(0),
	} {
		task := faena.Define[int, int]("t")
		_, err := task.Go(t.Context(), open(t, newLoop(0), faena.Options{}), 1, o)
		wantCode(t, name+": Go", err, faena.CodeInvalid)
		wantPanic(t, name+": Define", func() { faena.Define[int, int]("t", o) })
	}
	n := open(t, newLoop(0), faena.Options{})
	task := faena.Define[int, int]("t")
	for name, opts := range map[string][]faena.Option{
		"past deadline":            {faena.Deadline(time.Unix(1, 0))},
		"deadline before the time": {faena.ExpireIn(time.Minute), faena.In(time.Hour)},
		"named outside":            {faena.Named("x")},
	} {
		_, err := task.Go(t.Context(), n, 1, opts...)
		wantCode(t, name+": Go", err, faena.CodeInvalid)
	}
	_, err := task.Batch(t.Context(), n, []int{1}, faena.Named("x"))
	wantCode(t, "Batch with a name", err, faena.CodeInvalid)
	for _, name := range []string{"", "a b", "ä", "a/b", strings.Repeat("x", 65)} {
		wantPanic(t, "Define "+name, func() { faena.Define[int, int](name) })
	}
	wantPanic(t, "Define Named", func() { faena.Define[int, int]("t", faena.Named("x")) })
	if got := faena.Define[int, int]("a-b_C.9").Name(); got != "a-b_C.9" {
		t.Errorf("Name() = %q, want a-b_C.9", got)
	}
}

// A Task that nobody defined was stored without a name, and Map of it never ended.
func TestZeroTaskIsRefused(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	n := open(t, l, faena.Options{})
	var zero faena.Task[int, int]
	for name, call := range map[string]func() error{
		"Go":    func() error { _, err := zero.Go(t.Context(), n, 1); return err },
		"Run":   func() error { _, err := zero.Run(t.Context(), n, 1); return err },
		"Batch": func() error { _, err := zero.Batch(t.Context(), n, []int{1}); return err },
		"Map": func() (err error) {
			for _, err = range zero.Map(t.Context(), n, slices.Values([]int{1})) {
				break
			}
			return err
		},
		"Map with a window": func() (err error) {
			for _, err = range zero.Map(t.Context(), n, slices.Values([]int{1}), faena.Window(1)) {
				break
			}
			return err
		},
		"Submit":        func() error { _, err := n.Submit(t.Context(), "", nil, faena.WaitForWorker()); return err },
		"SubmitBatch":   func() error { _, err := n.SubmitBatch(t.Context(), "", nil, faena.WaitForWorker()); return err },
		"Handle":        func() error { return n.Handle(zero.With(nil)) },
		"Batch of none": func() error { _, err := zero.Batch(t.Context(), n, nil); return err },
	} {
		wantCode(t, name, call(), faena.CodeInvalid)
	}
	if len(l.runs) != 0 {
		t.Errorf("%d runs were stored, want none", len(l.runs))
	}
}

func wantPanic(t *testing.T, what string, fn func()) {
	t.Helper()
	defer func() {
		if v := recover(); v == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	fn()
}

func TestNilFunctions(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	n := open(t, l, faena.Options{})
	task := faena.Define[int, int]("t")
	wantCode(t, "Handle of With(nil)", n.Handle(task.With(nil)), faena.CodeInvalid)
	double := func(_ context.Context, i int) (int, error) { return 2 * i, nil }
	wantCode(t, "Handle of WithCheck(fn, nil)", n.Handle(task.WithCheck(double, nil)), faena.CodeInvalid)
	n.Use(nil)
	handle(t, n, task.With(double))
	if got, err := task.Run(t.Context(), n, 4); err != nil || got != 8 {
		t.Errorf("Run beside nil middleware = %d, %v, want 8", got, err)
	}
	l.fail = &faena.Error{Code: faena.CodeFull, Op: "submit", Err: errors.New("no space")}
	if _, err := task.Go(t.Context(), n, 1); err == nil || err.Error() != "submit t: no space" {
		t.Errorf("Go = %v, want the operation named once", err)
	}
}
