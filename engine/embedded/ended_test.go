package embedded_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// held is one run under way in an engine's worker, whose handler, as that of a
// task does, is interrupted when the lease is lost.
type held struct {
	t      *testing.T
	dir    string
	eng    *embedded.Engine
	other  *nats.Conn // of another process, as it were
	run    engine.Run
	starts atomic.Int32
	let    chan struct{} // closed to let it succeed
	end    chan engine.State
}

func hold(t *testing.T) *held {
	t.Helper()
	h := &held{t: t, dir: filepath.Join(t.TempDir(), "data"), let: make(chan struct{}), end: make(chan engine.State, 1)}
	var err error
	if h.eng, err = embedded.Open(t.Context(), embedded.Options{Dir: h.dir, Sync: func() error { return nil }}); err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { h.eng.Close() }) //nolint:errcheck // the test is over
	if h.other, err = h.eng.Conn(); err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(h.other.Close)
	w, err := h.eng.Work(engine.WorkOptions{Slots: 2, Exec: func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		h.starts.Add(1)
		select {
		case <-h.let:
			return engine.Outcome{Output: []byte("1")}
		case <-ctx.Done():
			return engine.Outcome{Interrupted: true}
		}
	}})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "task"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	h.run = engine.Run{ID: engine.NewIDs().New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{3600, 3600}}
	h.eng.Watch(h.run.ID, engine.WaiterFunc(func(r *engine.Record) { h.end <- r.State }))
	if err := h.eng.Submit(t.Context(), []engine.Run{h.run}); err != nil {
		t.Fatalf("Submit = %v", err)
	}
	synctest.Wait()
	if n := h.starts.Load(); n != 1 {
		t.Fatalf("%d starts, want 1", n)
	}
	return h
}

func (h *held) publish(subject string, data []byte) {
	h.t.Helper()
	if err := h.other.Publish(subject, data); err != nil {
		h.t.Fatalf("publish: %v", err)
	}
}

// wantNoOther waits for the run's end, and for longer than anything may take to
// start it again.
func (h *held) wantNoOther() {
	h.t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	select {
	case s := <-h.end:
		if s != engine.Succeeded {
			h.t.Errorf("it ended %v, want succeeded", s)
		}
	case <-late.C:
		h.t.Fatal("it does not end")
	}
	n := h.starts.Load()
	time.Sleep(10 * time.Second)
	if more := h.starts.Load() - n; more != 0 {
		h.t.Errorf("it began %d times after its end was shown, want never", more)
	}
}

// A process that was stopped for longer than its lease finds, when it goes on,
// that another has ended its run. The attempt is interrupted, but what has ended
// is not handed back to be started again.
func TestEndedElsewhereIsNotHandedBack(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		t.Helper()
		h := hold(t)
		now := time.Now().UnixMilli()
		h.publish("faena.log.0", engine.AppendRecord(nil, &engine.Record{
			ID: h.run.ID, State: engine.Succeeded, Queue: "q", Task: "task", Rev: 1, Attempt: 1, Keep: 3600, Start: now, End: now,
		}))
		h.wantNoOther()
	})
}

// A run that was handed back elsewhere has another message, of a higher revision
// and not in doubt. It waits while an older one is under way here, and that may
// end the run.
func TestNewerMessageIsAskedAboutAfterTheOlderOne(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		t.Helper()
		h := hold(t)
		newer := h.run
		newer.Rev++
		h.publish("faena.q.q.1", engine.AppendRun(nil, &newer))
		time.Sleep(100 * time.Millisecond)
		close(h.let)
		h.wantNoOther()
	})
}
