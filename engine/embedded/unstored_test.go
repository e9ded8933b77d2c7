package embedded_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// stopWithin is the grace of these tests, the five seconds after it, and a moment
// for the connection.
const stopGrace, stopWithin = time.Second, 8 * time.Second

// A worker waited for ever to store the outcomes it had when its server had gone,
// or its disk was full.
func TestWorkerEndsWithWhatCannotBeStored(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]bool{"the server is gone": true, "nothing is stored": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				var full atomic.Bool
				o := embedded.Options{Dir: t.TempDir(), Durability: embedded.Fast}
				hook := func(w engine.Write, _ bool) error {
					if w == engine.WriteRecord && full.Load() {
						return errors.New("no space")
					}
					return nil
				}
				owner, err := embedded.Open(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				eng, err := owner.Join(t.Context(), "worker", hook)
				if err != nil {
					t.Fatal(err)
				}
				began, end := make(chan struct{}), make(chan struct{})
				w, err := eng.Work(engine.WorkOptions{Slots: 1, Exec: func(context.Context, *engine.Attempt) engine.Outcome {
					close(began)
					<-end
					return engine.Outcome{}
				}})
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Handle(t.Context(), "q", "t"); err != nil {
					t.Fatal(err)
				}
				r := engine.Run{ID: engine.NewIDs().New(), Queue: "q", Task: "t", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{3600, 3600}}
				if err := eng.Submit(t.Context(), []engine.Run{r}); err != nil {
					t.Fatal(err)
				}
				<-began
				if full.Store(true); gone {
					if err := owner.Close(); err != nil {
						t.Fatal(err)
					}
				}
				close(end)
				stopInTime(t, w)
				if full.Store(false); gone {
					eng.Close() //nolint:errcheck // its server is gone
					if owner, err = embedded.Open(t.Context(), o); err != nil {
						t.Fatal(err)
					}
					again(t, owner, r.ID)
				} else {
					again(t, eng, r.ID)
					eng.Close() //nolint:errcheck // the test is over
				}
				owner.Close() //nolint:errcheck // the test is over
			})
		})
	}
}

func stopInTime(t *testing.T, w engine.Worker) {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), stopGrace)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- w.Stop(ctx) }()
	late := time.NewTimer(time.Hour)
	defer late.Stop()
	select {
	case err := <-stopped:
		if took := time.Since(begun); err != nil || took > stopWithin {
			t.Errorf("Stop = %v after %v, want at most %v", err, took, stopWithin)
		}
	case <-late.C:
		t.Fatal("Stop does not return")
	}
}

// again has another worker execute a run whose outcome was given up.
func again(t *testing.T, eng engine.Engine, id engine.ID) {
	t.Helper()
	w, err := eng.Work(engine.WorkOptions{Slots: 1, Exec: nothing})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	defer w.Stop(t.Context()) //nolint:errcheck // the test is over
	if err := w.Handle(t.Context(), "q", "t"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	ended := make(chan engine.State, 1)
	if err := eng.Attach(t.Context(), id, engine.WaiterFunc(func(r *engine.Record) { ended <- r.State })); err != nil {
		t.Fatalf("Attach = %v", err)
	}
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	select {
	case s := <-ended:
		if s != engine.Succeeded {
			t.Errorf("the run is %v, want succeeded", s)
		}
	case <-late.C:
		t.Error("the run is executed no more")
	}
}

// A worker that stopped just when the last run of a batch had ended left the
// batch's parts behind, for an hour.
func TestWorkerDropsABatchBeforeItEnds(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		gate := make(chan struct{})
		hook := func(w engine.Write, after bool) error {
			if w == engine.WriteForget && !after {
				<-gate
			}
			return nil
		}
		eng, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Durability: embedded.Fast, Hook: hook})
		if err != nil {
			t.Fatal(err)
		}
		defer eng.Close() //nolint:errcheck // the test is over
		w, err := eng.Work(engine.WorkOptions{Slots: 4, Exec: nothing})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Handle(t.Context(), "q", "t"); err != nil {
			t.Fatal(err)
		}
		endAll(t, eng, "t") // it is known to be short
		ids, runs, ended := engine.NewIDs(), make([]engine.Run, 2000), make(chan struct{}, 2000)
		for i := range runs {
			runs[i] = engine.Run{ID: ids.New(), Queue: "q", Task: "t", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{3600, 3600}}
			runs[i].Tags = []engine.Tag{{Key: "pad", Value: strings.Repeat("x", 200)}} // it is staged
			eng.Watch(runs[i].ID, engine.WaiterFunc(func(*engine.Record) { ended <- struct{}{} }))
		}
		if err := eng.SubmitBatch(t.Context(), runs); err != nil {
			t.Fatal(err)
		}
		for range runs {
			<-ended
		}
		stopped := make(chan error, 1)
		go func() { stopped <- w.Stop(t.Context()) }()
		time.Sleep(time.Second)
		close(gate)
		if err := <-stopped; err != nil {
			t.Fatalf("Stop = %v", err)
		}
		js, done := streams(t, eng)
		defer done()
		s, err := js.Stream(t.Context(), "FAENA_STAGE")
		if err != nil {
			t.Fatal(err)
		}
		if i := s.CachedInfo().State; i.Msgs != 0 || i.LastSeq == 0 {
			t.Errorf("%d of %d parts are left, want none of some", i.Msgs, i.LastSeq)
		}
	})
}
