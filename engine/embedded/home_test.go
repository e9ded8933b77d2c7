package embedded_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
)

// moved is a house with a run that waits for others and has left its queue.
func moved(t *testing.T) (h *house, id engine.ID, end func()) {
	t.Helper()
	h = newHouse(t)
	h.o.Listen = "127.0.0.1:0" // so that others may be connected
	home, acked := make(chan struct{}, 9), make(chan struct{}, 9)
	h.o.Hook = func(w engine.Write, after bool) error {
		switch {
		case w == engine.WriteHome && after:
			home <- struct{}{}
		case w == engine.WriteAck && after:
			acked <- struct{}{}
		}
		return nil
	}
	h.open()
	over := make(chan struct{})
	w, err := h.eng.Work(engine.WorkOptions{Slots: 1, Waiting: 1, Exec: func(ctx context.Context, a *engine.Attempt) engine.Outcome {
		if err := a.Lease.Yield(); err != nil {
			t.Errorf("Yield = %v", err)
		}
		select {
		case <-over:
		case <-ctx.Done():
		}
		return engine.Outcome{Interrupted: ctx.Err() != nil}
	}})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "task"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	id = h.ids.New()
	r := engine.Run{ID: id, Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 7}, Keep: [2]uint32{60, 60}, Tags: []engine.Tag{{Key: "k", Value: "v"}}}
	r.Input.Data = []byte(`"in"`)
	if err := h.eng.Submit(t.Context(), []engine.Run{r}); err != nil {
		t.Fatalf("Submit = %v", err)
	}
	late, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	for _, c := range []chan struct{}{home, acked} {
		select {
		case <-c:
		case <-late.Done():
			t.Fatal("a run that waits did not leave its queue within 30 s")
		}
	}
	return h, id, func() {
		close(over)
		if err := w.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v", err)
		}
	}
}

// A run that has left its queue keeps all that is known of it, and can be retried
// when it was cancelled.
func TestLongRunCancelled(t *testing.T) {
	t.Parallel()
	h, id, end := moved(t)
	defer h.close()
	defer end()
	i, err := h.eng.Get(t.Context(), id)
	if err != nil || i.Attempts != 7 || string(i.Input) != `"in"` {
		t.Errorf("Get of a run that waits = %+v, %v, want its input and 7 attempts", i, err)
	}
	if s, err := h.eng.Cancel(t.Context(), []engine.ID{id}); err != nil || s[0] != engine.Cancelled {
		t.Fatalf("Cancel = %v, %v", s, err)
	}
	again, err := h.eng.Retry(t.Context(), []engine.ID{id})
	if err != nil {
		t.Fatalf("Retry = %v", err)
	}
	i, err = h.eng.Get(t.Context(), again[0])
	if err != nil || i.Attempts != 7 || string(i.Input) != `"in"` || i.Tags["k"] != "v" {
		t.Errorf("Get of the retry = %+v, %v, want the input, 7 attempts and the tag", i, err)
	}
}

// A run that had left its queue when its process died is there as soon as the
// next one is, also if that has to build the index anew.
func TestLongRunOfADeadProcess(t *testing.T) {
	t.Parallel()
	h, id, end := moved(t)
	for _, rebuilt := range []bool{false, true} {
		next := newHouse(t)
		next.o.Listen = h.o.Listen
		if err := os.CopyFS(next.o.Dir, os.DirFS(h.o.Dir)); err != nil { // as a kill leaves it
			t.Fatal(err)
		}
		if rebuilt {
			files, err := filepath.Glob(filepath.Join(next.o.Dir, "index.db*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no index in %s: %v", next.o.Dir, err)
			}
			for _, f := range files {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		next.open()
		i, err := next.eng.Get(t.Context(), id)
		if err != nil || i.State != engine.Queued || string(i.Input) != `"in"` || i.Waits == "" || i.Tags["k"] != "v" {
			t.Errorf("Get after the process has died, index built anew %t = %+v, %v, want it queued, with its input, and what it waits for", rebuilt, i, err)
		}
		if counts, err := next.eng.Counts(t.Context()); err != nil || len(counts) != 1 || counts[0].State != engine.Queued || counts[0].N != 1 {
			t.Errorf("Counts, index built anew %t = %v, %v, want one run queued", rebuilt, counts, err)
		}
		if rec := next.work([]engine.ID{id})[id]; rec.State != engine.Succeeded {
			t.Errorf("the run ended as %v, index built anew %t, want succeeded", rec.State, rebuilt)
		}
		next.close()
	}
	end()
	h.close()
}
