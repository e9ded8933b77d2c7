package embedded_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// A power cut may leave zeros where the server noted deliveries. It then does
// without the consumer, and its queue stood still for ever.
func TestNoNotesOfDeliveriesAfterAPowerCut(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	open := func(boot string) *embedded.Engine {
		t.Helper()
		eng, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Durability: embedded.Fast, Boot: boot})
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		return eng
	}
	eng := open("before")
	ids := engine.NewIDs()
	run := engine.Run{ID: ids.New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{60, 60}}
	if err := eng.Submit(t.Context(), []engine.Run{run}); err != nil {
		t.Fatalf("Submit = %v", err)
	}
	if err := eng.Close(); err != nil {
		t.Fatalf("Close = %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "boot"), []byte("before"), 0o600); err != nil { // it had not been closed
		t.Fatal(err)
	}
	notes, err := filepath.Glob(filepath.Join(dir, "store/jetstream/*/streams/*/obs/*"))
	if err != nil || len(notes) == 0 {
		t.Fatalf("the server keeps no notes of deliveries where they were expected: %v", err)
	}
	for _, d := range notes {
		if err := os.WriteFile(filepath.Join(d, "o.dat"), make([]byte, 64), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	eng = open("after")
	defer eng.Close() //nolint:errcheck // the test is over
	over := make(chan struct{})
	w, err := eng.Work(engine.WorkOptions{Slots: 1, Exec: func(context.Context, *engine.Attempt) engine.Outcome {
		close(over)
		return engine.Outcome{}
	}})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "task"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	select {
	case <-over:
	case <-t.Context().Done():
		t.Fatal("the run does not start")
	}
}
