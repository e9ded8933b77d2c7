package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// tap is a write hook that counts envelopes, holds one back, and fails one.
type tap struct {
	mu     sync.Mutex
	n      [2]int // envelopes since it was set, before and after
	fail   int    // which one; 0 for none
	after  bool   // when
	failed bool
	gate   chan struct{} // what the first one waits for; nil for nothing
}

var errTap = errors.New("a fault that the test made")

func (p *tap) hook(w engine.Write, after bool) error {
	if w != engine.WriteEnvelope {
		return nil
	}
	p.mu.Lock()
	i := 0
	if after {
		i = 1
	}
	p.n[i]++
	n, gate := p.n[i], p.gate
	bad := n == p.fail && after == p.after
	p.failed = p.failed || bad
	p.mu.Unlock()
	if n == 1 && !after && gate != nil {
		<-gate
	}
	if bad {
		return errTap
	}
	return nil
}

// set begins anew: the first envelope waits until open, the nth fails.
func (p *tap) set(fail int, after bool) (open func()) {
	gate := make(chan struct{})
	p.mu.Lock()
	p.n, p.fail, p.after, p.failed, p.gate = [2]int{}, fail, after, false, gate
	p.mu.Unlock()
	return func() { close(gate) }
}

// written is how many envelopes were begun, and whether one failed.
func (p *tap) written() (n int, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n[0], p.failed
}

// shop is an engine with a worker, and what its handlers and callers saw.
type shop struct {
	t   *testing.T
	eng engine.Engine
	own *embedded.Engine
	ids *engine.IDs
	tap *tap

	mu     sync.Mutex
	starts map[engine.ID][]time.Time
	ends   map[engine.ID][]*engine.Record
	over   map[engine.ID]chan struct{}
}

// runShop runs fn on fake time, with an engine that owns the disk or one that has
// joined it.
func runShop(t *testing.T, joined bool, fn func(s *shop)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	bubble(t, func(t *testing.T) {
		s := &shop{
			t: t, ids: engine.NewIDs(), tap: &tap{},
			starts: map[engine.ID][]time.Time{}, ends: map[engine.ID][]*engine.Record{}, over: map[engine.ID]chan struct{}{},
		}
		disk := func() error { time.Sleep(300 * time.Microsecond); return nil }
		owner, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Hook: s.tap.hook, Sync: disk, Name: "owner"})
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		defer owner.Close() //nolint:errcheck // the test is over
		s.eng, s.own = owner, owner
		if joined {
			e, err := owner.Join(t.Context(), "joined", s.tap.hook)
			if err != nil {
				t.Fatalf("Join = %v", err)
			}
			defer e.Close() //nolint:errcheck // the test is over
			s.eng = e
		}
		w, err := s.eng.Work(engine.WorkOptions{Slots: 4, Exec: s.exec})
		if err != nil {
			t.Fatalf("Work = %v", err)
		}
		for _, queue := range []string{"a", "b", "c"} {
			for _, task := range []string{"echo", "tick", "nap", "sleep"} {
				if err := w.Handle(t.Context(), queue, task); err != nil {
					t.Fatalf("Handle(%s, %s) = %v", queue, task, err)
				}
			}
		}
		fn(s)
		if err := w.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v", err)
		}
	})
}

func (s *shop) exec(_ context.Context, a *engine.Attempt) engine.Outcome {
	s.mu.Lock()
	s.starts[a.Run.ID] = append(s.starts[a.Run.ID], time.Now())
	s.mu.Unlock()
	switch a.Run.Task {
	case "tick":
		time.Sleep(200 * time.Microsecond)
	case "nap":
		time.Sleep(50 * time.Millisecond)
	case "sleep":
		time.Sleep(10 * time.Second)
	}
	return engine.Outcome{Output: fmt.Appendf(nil, "%s of %s", a.Input, a.Run.ID)}
}

// second starts another process, as it were, that works for queue a.
func (s *shop) second(task string) (stop func()) {
	s.t.Helper()
	e, err := s.own.Join(s.t.Context(), "second", s.tap.hook)
	if err != nil {
		s.t.Fatalf("Join = %v", err)
	}
	w, err := e.Work(engine.WorkOptions{Slots: 4, Exec: s.exec})
	if err != nil {
		s.t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(s.t.Context(), "a", task); err != nil {
		s.t.Fatalf("Handle = %v", err)
	}
	return func() {
		if err := w.Stop(s.t.Context()); err != nil {
			s.t.Errorf("Stop = %v", err)
		}
		e.Close() //nolint:errcheck // the test is over
	}
}

// known lets the worker execute a task until it has told its pace.
func (s *shop) known(task string) {
	s.t.Helper()
	for range 5 {
		r := s.run("a", task, 0)
		if err := s.submit(s.t.Context(), r); err != nil {
			s.t.Fatalf("Submit = %v", err)
		}
		s.once(r)
	}
	time.Sleep(3 * time.Second)
}

// run is a run to be started after some time.
func (s *shop) run(queue, task string, delay time.Duration) engine.Run {
	r := engine.Run{ID: s.ids.New(), Queue: queue, Task: task, Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{3600, 3600}}
	r.Input.Data = []byte(r.ID.String())
	if delay > 0 {
		r.At = time.Now().Add(delay).UnixMilli()
	}
	return r
}

// watch notes ends of runs about to be submitted.
func (s *shop) watch(runs []engine.Run) {
	for i := range runs {
		id := runs[i].ID
		over := make(chan struct{})
		s.mu.Lock()
		s.over[id] = over
		s.mu.Unlock()
		s.eng.Watch(id, engine.WaiterFunc(func(r *engine.Record) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.ends[id] = append(s.ends[id], r); len(s.ends[id]) == 1 {
				close(over)
			}
		}))
	}
}

func (s *shop) submit(ctx context.Context, runs ...engine.Run) error {
	s.watch(runs)
	return s.eng.Submit(ctx, runs)
}

// once waits for a run's end: it began once, in time, and gave its own result.
func (s *shop) once(r engine.Run) {
	s.t.Helper()
	s.mu.Lock()
	over := s.over[r.ID]
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Hour)
	defer cancel()
	select {
	case <-over:
	case <-ctx.Done():
		i, err := s.eng.Get(s.t.Context(), r.ID)
		s.t.Errorf("run %v (%s, %s) did not end; Get = %+v, %v", r.ID, r.Queue, r.Task, i, err)
		return
	}
	s.mu.Lock()
	starts, ends := s.starts[r.ID], s.ends[r.ID]
	s.mu.Unlock()
	if len(starts) != 1 || len(ends) != 1 {
		s.t.Errorf("run %v (%s, %s) began %d times and ended %d times, want once", r.ID, r.Queue, r.Task, len(starts), len(ends))
		return
	}
	if early := time.UnixMilli(r.At).Sub(starts[0]); early > time.Millisecond {
		s.t.Errorf("run %v (%s, %s) began %v before its time", r.ID, r.Queue, r.Task, early)
	}
	want := fmt.Sprintf("%s of %s", r.ID, r.ID)
	if got := string(ends[0].Output.Data); ends[0].State != engine.Succeeded || got != want {
		s.t.Errorf("run %v (%s, %s) ended %v with %q (%+v), want succeeded with %q", r.ID, r.Queue, r.Task, ends[0].State, got, ends[0].Failure, want)
	}
}

// most wants that a run whose submission was not acknowledged did not begin twice.
func (s *shop) most(r engine.Run) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.starts[r.ID]); n > 1 || len(s.ends[r.ID]) != n {
		s.t.Errorf("run %v, not acknowledged, began %d times and ended %d times, want at most once each", r.ID, n, len(s.ends[r.ID]))
	}
}

// callers submit a run each, at the same time: what the first writes is held back
// until all the others have come. It gives the runs and what each caller was told.
func (s *shop) callers(task string, n, fail int, after bool) (runs []engine.Run, told []error) {
	s.t.Helper()
	open := s.tap.set(fail, after)
	told = make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		r := s.run("a", task, 0)
		runs = append(runs, r)
		wg.Go(func() { told[i] = s.submit(s.t.Context(), r) })
		if i == 0 {
			synctest.Wait() // alone: how many share a message is then the same each time
		}
	}
	synctest.Wait() // one is held back, the others have gathered
	open()
	wg.Wait()
	return runs, told
}

func bothEngines(t *testing.T, fn func(s *shop)) {
	t.Helper()
	for _, joined := range []bool{false, true} {
		t.Run(fmt.Sprintf("joined %t", joined), func(t *testing.T) {
			t.Parallel()
			runShop(t, joined, fn)
		})
	}
}

func TestSubmittedAtTheSameTime(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(s *shop) {
		s.known("echo")
		const n = 200
		runs, told := s.callers("echo", n, 0, false)
		for i, r := range runs {
			if told[i] != nil {
				s.t.Errorf("Submit = %v", told[i])
				continue
			}
			s.once(r)
		}
		if wrote, _ := s.tap.written(); wrote > n/10 {
			s.t.Errorf("%d runs of a short task, submitted at the same time, took %d messages, want few", n, wrote)
		}
	})
}

// Of a task that is slow each run goes singly, so that workers share them, and of
// one that nobody has executed only a few go together.
func TestSubmittedAtTheSameTimeSlowOrUnknown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		task        string
		known       bool
		least, most int
	}{
		{task: "nap", known: true, least: 50, most: 50},
		{task: "nap", least: 4, most: 5},
	} {
		t.Run(fmt.Sprintf("known %t", c.known), func(t *testing.T) {
			t.Parallel()
			runShop(t, false, func(s *shop) {
				if c.known {
					s.known(c.task)
				}
				const n = 50
				runs, told := s.callers(c.task, n, 0, false)
				wrote, _ := s.tap.written()
				for i, r := range runs {
					if told[i] != nil {
						s.t.Errorf("Submit = %v", told[i])
						continue
					}
					s.once(r)
				}
				if wrote < c.least || wrote > c.most {
					s.t.Errorf("%d runs took %d messages, want %d to %d", n, wrote, c.least, c.most)
				}
			})
		})
	}
}

// Runs of a task that nobody has executed share a message, and turn out slow: the
// worker that takes it keeps what its slots can do, and others take the rest.
func TestUnknownAndSlowIsShared(t *testing.T) {
	t.Parallel()
	runShop(t, false, func(s *shop) {
		defer s.second("sleep")()
		runs, told := s.callers("sleep", 17, 0, false)
		start := time.Now()
		for i, r := range runs {
			if told[i] != nil {
				s.t.Fatalf("Submit = %v", told[i])
			}
			s.once(r)
		}
		if wrote, _ := s.tap.written(); wrote < 3 {
			s.t.Errorf("the runs took %d messages, want some handed back", wrote)
		}
		// Eight slots do 17 runs of ten seconds in three turns; four would take five.
		if d := time.Since(start); d > 31*time.Second {
			s.t.Errorf("the runs took %v, want 30 s: both workers at work", d)
		}
	})
}

func TestSubmittedOfAllKinds(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	bothEngines(t, func(s *shop) {
		s.known("echo")
		var mu sync.Mutex
		var all []engine.Run
		var wg sync.WaitGroup
		for i := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, i))
			wg.Go(func() {
				for range 5 {
					time.Sleep(time.Duration(r.IntN(3)) * 300 * time.Microsecond)
					queue, batch := pick(r, "a", "b", "c"), r.IntN(8) == 0
					var runs []engine.Run
					for range 1 + r.IntN(4) {
						if !batch {
							queue = pick(r, "a", "b", "c")
						}
						delay := pick(r, 0, 0, 0, 200*time.Millisecond, 3*time.Second, time.Minute)
						runs = append(runs, s.run(queue, pick(r, "echo", "echo", "nap"), delay))
					}
					s.watch(runs)
					submit := s.eng.Submit
					if batch {
						submit = s.eng.SubmitBatch
					}
					if err := submit(s.t.Context(), runs); err != nil {
						s.t.Errorf("seed %d: submit = %v", seed, err)
						continue
					}
					mu.Lock()
					all = append(all, runs...)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for _, r := range all {
			s.once(r)
		}
		if s.t.Failed() {
			s.t.Logf("seed %d", seed)
		}
	})
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// The runs of a batch may have times of their own, whichever the first has.
func TestBatchOfRunsWithDifferentTimes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		times []time.Duration
	}{
		{"the first at once", []time.Duration{0, 3 * time.Second, time.Minute}},
		{"the first later", []time.Duration{time.Minute, 0, 3 * time.Second, 100 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			runShop(t, false, func(s *shop) {
				var runs []engine.Run
				for i := range 300 {
					r := s.run("a", "echo", c.times[i%len(c.times)])
					r.Tags = []engine.Tag{{Key: "pad", Value: fmt.Sprintf("%2000d", i)}} // it is staged
					runs = append(runs, r)
				}
				s.watch(runs)
				start := time.Now()
				if err := s.eng.SubmitBatch(s.t.Context(), runs); err != nil {
					s.t.Fatalf("SubmitBatch = %v", err)
				}
				for _, r := range runs {
					if r.At == 0 {
						s.once(r)
					}
				}
				if d := time.Since(start); d > 2*time.Second {
					s.t.Errorf("the runs that are to start at once ended %v after, want soon", d)
				}
				for _, r := range runs {
					s.once(r)
				}
			})
		})
	}
}

func TestCallerLeavesWhileOthersSubmit(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(s *shop) {
		s.known("echo")
		open := s.tap.set(0, false)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(s.t.Context())
		const n = 30
		var runs [n]engine.Run
		var told [n]error
		var left [n]bool
		var wg sync.WaitGroup
		for i := range n {
			runs[i] = s.run("a", "echo", 0)
			in := s.t.Context()
			if i%3 == 0 {
				in = ctx
			}
			wg.Go(func() {
				told[i] = s.submit(in, runs[i])
				left[i] = true
			})
			if i == 0 {
				synctest.Wait() // the one that is held back is one of those that leave
			}
		}
		synctest.Wait()
		cancel(gone)
		synctest.Wait()
		for i := 1; i < n; i++ {
			if want := i%3 == 0; left[i] != want {
				s.t.Errorf("caller %d has returned: %t, want %t", i, left[i], want)
			}
		}
		open()
		wg.Wait()
		for i := range n {
			if told[i] == nil {
				s.once(runs[i])
			} else if i%3 != 0 {
				s.t.Errorf("Submit = %v of a caller that did not leave", told[i])
			}
			if i > 0 && i%3 == 0 && (!errors.Is(told[i], gone) || engine.CodeOf(told[i]) != engine.CodeUnavailable) {
				s.t.Errorf("Submit = %v of a caller that left, want its cause, and code unavailable", told[i])
			}
			if told[i] != nil && !strings.Contains(told[i].Error(), "look for them") {
				s.t.Errorf("Submit = %v of a caller that left, want what it can do", told[i])
			}
		}
		time.Sleep(30 * time.Second)
		for _, r := range runs {
			s.most(r)
		}
	})
}

// One message of several callers' runs fails, or its answer is lost: each caller
// is told so, or its run ends, once.
func TestFaultOfASubmissionOfSeveral(t *testing.T) {
	t.Parallel()
	// The first envelope is that of the caller who found nobody before it.
	for _, c := range []struct {
		what, task string
		known      bool
		callers    int
		fail       []int
	}{
		{"short", "echo", true, 90, []int{1, 2, 3}},
		{"unknown", "echo", false, 40, []int{1, 2, 4}},
		{"slow", "nap", true, 40, []int{1, 2, 25, 40}}, // a message each
	} {
		for _, fail := range c.fail {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, envelope %d, after %t", c.what, fail, after), func(t *testing.T) {
					t.Parallel()
					bothEngines(t, func(s *shop) {
						if c.known {
							s.known(c.task)
						}
						s.fault(c.task, c.callers, fail, after)
					})
				})
			}
		}
	}
}

// fault lets the nth envelope of several callers fail.
func (s *shop) fault(task string, callers, fail int, after bool) {
	s.t.Helper()
	runs, told := s.callers(task, callers, fail, after)
	refused := 0
	for i, r := range runs {
		if told[i] == nil {
			s.once(r)
			continue
		}
		refused++
		if !errors.Is(told[i], errTap) {
			s.t.Errorf("Submit = %v, want the fault or nothing", told[i])
		}
	}
	time.Sleep(30 * time.Second) // and what comes afterwards
	for i, r := range runs {
		if told[i] == nil {
			s.once(r)
		} else {
			s.most(r)
		}
	}
	if wrote, failed := s.tap.written(); !failed {
		s.t.Errorf("there was no envelope %d to fail, only %d", fail, wrote)
	}
	if refused > 1 {
		s.t.Errorf("envelope %d, after %t: %d of %d callers were told of the fault, want one at most: the others try again", fail, after, refused, callers)
	}
}
