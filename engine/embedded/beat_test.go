package embedded_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// What runs told of their progress made heartbeats larger than a message may be:
// their node was taken for dead, and they started again elsewhere.
func TestMuchToldOfProgressLeavesANodeAlive(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ runs, text int }{"one long text": {1, 5 << 20}, "many texts": {900, 6 << 10}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				t.Helper()
				tellMuch(t, c.runs, strings.Repeat("x", c.text))
			})
		})
	}
}

func tellMuch(t *testing.T, n int, text string) {
	t.Helper()
	owner, err := embedded.Open(t.Context(), embedded.Options{Dir: filepath.Join(t.TempDir(), "data"), Durability: embedded.Fast})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	defer owner.Close() //nolint:errcheck // the test is over
	e, err := owner.Join(t.Context(), "joined", nil)
	if err != nil {
		t.Fatalf("Join = %v", err)
	}
	defer e.Close() //nolint:errcheck // the test is over
	w, err := e.Work(engine.WorkOptions{Slots: n, Exec: func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		a.Lease.Progress(engine.Progress{Done: 0.5, Text: text})
		<-ctx.Done()
		return engine.Outcome{Interrupted: true}
	}})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "task"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	ids, runs := engine.NewIDs(), make([]engine.Run, n)
	for i := range runs {
		runs[i] = engine.Run{ID: ids.New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{60, 60}}
	}
	if err := owner.Submit(t.Context(), runs); err != nil {
		t.Fatalf("Submit = %v", err)
	}
	time.Sleep(10 * time.Second)
	nodes, err := owner.Nodes(t.Context())
	if err != nil || len(nodes) != 1 {
		t.Errorf("Nodes = %+v, %v, want the one that works", nodes, err)
	}
	for _, r := range []engine.Run{runs[0], runs[n-1]} {
		i, err := owner.Get(t.Context(), r.ID)
		if err != nil || i.State != engine.Running || i.Progress == nil || i.Progress.Done != 0.5 {
			t.Errorf("Get(%v) = %+v, %v, want it running, half done", r.ID, i, err)
		}
	}
}
