package embedded_test

import (
	"strings"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
)

// A worker that stops as soon as the last result of a batch is shown drops the
// batch's parts all the same: nothing stays on the disk, and no error is logged.
func TestStopDropsWhatABatchStaged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.o.Hook = func(w engine.Write, after bool) error {
		if w == engine.WriteForget && !after {
			time.Sleep(500 * time.Millisecond) // a slow disk
		}
		return nil
	}
	h.open()
	runs := make([]engine.Run, 2000)
	ids := make([]engine.ID, len(runs))
	input := []byte(`"` + strings.Repeat("x", 1<<10) + `"`) // more than one message holds
	for i := range runs {
		ids[i] = h.ids.New()
		runs[i] = engine.Run{ID: ids[i], Queue: "q", Task: "task", Input: engine.Value{Data: input}, Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{60, 60}}
	}
	if err := h.eng.SubmitBatch(t.Context(), runs); err != nil {
		t.Fatalf("SubmitBatch = %v", err)
	}
	h.work(ids)
	js, done := streams(t, h.eng)
	s, err := js.Stream(t.Context(), "FAENA_STAGE")
	if err != nil {
		t.Fatalf("look at the staged parts: %v", err)
	}
	if n := s.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d staged messages are left, want none", n)
	}
	done()
	h.close()
	if said := h.said.String(); strings.Contains(said, "level=ERROR") {
		t.Errorf("it logs\n%s", said)
	}
}
