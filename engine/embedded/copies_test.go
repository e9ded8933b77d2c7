package embedded_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// rival is what another process writes that ends a run at the same time: a copy,
// and a record that names it.
func rival(t *testing.T, h *held, run *engine.Run, copySeq uint64, record bool) {
	t.Helper()
	now := time.Now().UnixMilli()
	rec := engine.Record{
		ID: run.ID, State: engine.Cancelled, Queue: "q", Task: "task", Rev: 1, Keep: 86400, End: now,
		Failure: &engine.Failure{Code: engine.CodeCancelled, Message: "cancelled"},
	}
	h.publish("faena.failed", engine.AppendRecord(engine.AppendRun(nil, run), &rec))
	if rec.CopySeq = copySeq; record {
		h.publish("faena.log.0", engine.AppendRecord(nil, &rec))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.other.FlushWithContext(ctx); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

// messages is how many there are in a stream.
func messages(t *testing.T, h *held, stream string) uint64 {
	t.Helper()
	js, err := jetstream.New(h.other)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatalf("look at %s: %v", stream, err)
	}
	return s.CachedInfo().State.Msgs
}

// A run that two have ended at the same moment stays as the first record says,
// also when the records are gone from the log and the index is built anew. A copy
// whose writer died before its record ends nothing.
func TestCopiesAfterTheLogIsPurged(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		t.Helper()
		h := hold(t)
		close(h.let)
		<-h.end
		failed := h.run
		failed.ID = engine.NewIDs().New()
		failed.Keep[1] = 86400
		failed.Deadline = time.Now().Add(-time.Second).UnixMilli() // it fails at once
		if err := h.eng.Submit(t.Context(), []engine.Run{failed}); err != nil {
			t.Fatalf("Submit = %v", err)
		}
		time.Sleep(time.Second)
		rival(t, h, &failed, 2, true)
		open := h.run
		open.ID, open.At = engine.NewIDs().New(), time.Now().Add(24*time.Hour).UnixMilli()
		if err := h.eng.Submit(t.Context(), []engine.Run{open}); err != nil {
			t.Fatalf("Submit = %v", err)
		}
		time.Sleep(2 * time.Hour) // the first run is forgotten by then, and its record goes
		if n := messages(t, h, "FAENA_LOG"); n != 0 {
			t.Errorf("the log has %d messages, want none: the test shows nothing", n)
		}
		rival(t, h, &open, 3, false)
		h.other.Close()
		if err := h.eng.Close(); err != nil {
			t.Fatalf("Close = %v", err)
		}
		files, err := filepath.Glob(filepath.Join(h.dir, "index.db*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no index in %s: %v", h.dir, err)
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
		eng, err := embedded.Open(context.Background(), embedded.Options{Dir: h.dir, Sync: func() error { return nil }})
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		defer eng.Close() //nolint:errcheck // the test is over
		for id, want := range map[engine.ID]engine.State{failed.ID: engine.Failed, open.ID: engine.Scheduled} {
			if i, err := eng.Get(t.Context(), id); err != nil || i.State != want {
				t.Errorf("Get with a new index = %+v, %v, want %v", i, err, want)
			}
		}
	})
}
