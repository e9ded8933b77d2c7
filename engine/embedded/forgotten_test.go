package embedded_test

import (
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
)

// A run has ended, but another message of it waits, as one does that was handed
// back in doubt. Its retention passes before that is delivered: that the index knows
// nothing of a run whose message it has read says that the run has ended.
func TestForgottenRunDoesNotStart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		t.Helper()
		h := hold(t)
		if err := h.eng.Pause(t.Context(), "q"); err != nil {
			t.Fatalf("Pause = %v", err)
		}
		again := h.run
		again.Rev, again.Doubt = again.Rev+1, true
		h.publish("faena.q.q.1", engine.AppendRun(nil, &again))
		time.Sleep(time.Second)
		close(h.let)
		if s := <-h.end; s != engine.Succeeded {
			t.Fatalf("it ended %v, want succeeded", s)
		}
		time.Sleep(2 * time.Hour)
		if _, err := h.eng.Get(t.Context(), h.run.ID); engine.CodeOf(err) != engine.CodeNotFound {
			t.Errorf("Get = %v, want that it is forgotten: the test shows nothing", err)
		}
		if err := h.eng.Resume(t.Context(), "q"); err != nil {
			t.Fatalf("Resume = %v", err)
		}
		time.Sleep(time.Minute)
		if n := h.starts.Load(); n != 1 {
			t.Errorf("it began %d times, want once", n)
		}
	})
}
