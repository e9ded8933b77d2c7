package embedded_test

import (
	"context"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// A worker that had nothing under way asked a server that was gone to drop its
// consumers, and waited ten seconds for each answer.
func TestIdleWorkerEndsSoonWithoutServer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		owner, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Durability: embedded.Fast})
		if err != nil {
			t.Fatal(err)
		}
		eng, err := owner.Join(t.Context(), "worker", nil)
		if err != nil {
			t.Fatal(err)
		}
		w, err := eng.Work(engine.WorkOptions{Slots: 1, Exec: func(context.Context, *engine.Attempt) engine.Outcome { return engine.Outcome{} }})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Handle(t.Context(), "q", "t"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if err := owner.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		begun := time.Now()
		if err := w.Stop(t.Context()); err != nil {
			t.Errorf("Stop = %v", err)
		}
		if err := eng.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("an idle worker without a server took %v to end, want at most a second", took)
		}
	})
}
