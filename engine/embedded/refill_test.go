package embedded_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// Runs of a length of which none is fetched ahead follow each other at once: a
// slot that has become free must not stand empty until some ticker asks for work.
func TestFreeSlotIsFilledAtOnce(t *testing.T) {
	t.Parallel()
	eng, err := embedded.Open(t.Context(), embedded.Options{Dir: filepath.Join(t.TempDir(), "data"), Durability: embedded.Fast})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	defer eng.Close() //nolint:errcheck // the test is over
	const (
		runs = 20
		each = 25 * time.Millisecond
	)
	var started []time.Time // one slot: one at a time
	over := make(chan struct{})
	w, err := eng.Work(engine.WorkOptions{Slots: 1, Waiting: 1, Exec: func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		started = append(started, time.Now())
		ctx, cancel := context.WithTimeout(ctx, each)
		<-ctx.Done()
		cancel()
		if len(started) == runs {
			close(over)
		}
		return engine.Outcome{}
	}})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "task"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	ids := engine.NewIDs()
	var rs []engine.Run
	for range runs {
		rs = append(rs, engine.Run{ID: ids.New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{60, 60}})
	}
	if err := eng.Submit(t.Context(), rs); err != nil {
		t.Fatalf("Submit = %v", err)
	}
	select {
	case <-over:
	case <-t.Context().Done():
		t.Fatal("the runs do not end")
	}
	idle := started[runs-1].Sub(started[0]) - (runs-1)*each
	if mean := idle / (runs - 1); mean > 30*time.Millisecond {
		t.Errorf("the slot stood empty for %s between two runs on average, want next to nothing", mean)
	}
	if err := w.Stop(t.Context()); err != nil {
		t.Errorf("Stop = %v", err)
	}
}
