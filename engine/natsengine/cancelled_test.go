package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faena-dev/faena/engine"
)

func TestCancelledForgets(t *testing.T) {
	t.Parallel()
	ids := engine.NewIDs()
	old, kept, log := ids.New(), ids.New(), ids.New()
	c := newCancelled(nil)
	c.add(old, 3)
	c.add(kept, 0)
	c.add(kept, 7)
	c.add(kept, 0)
	c.add(log, 0) // its entry has not come yet
	c.forget(7, time.Now())
	if c.has(old) || !c.has(kept) || !c.has(log) {
		t.Errorf("has old %v, kept %v, one without entry %v; want only the last two", c.has(old), c.has(kept), c.has(log))
	}
}

// Runs that a worker had ended because their parent was cancelled have no entry:
// they were remembered as long as the process lived.
func TestCancelledForgetsWhatHasNoEntry(t *testing.T) {
	t.Parallel()
	ids := engine.NewIDs()
	none, late := ids.New(), ids.New()
	c := newCancelled(nil)
	now := time.Now()
	c.add(none, 0)
	c.add(late, 0)
	c.add(late, 7)
	c.forget(1, now.Add(bareFor/2))
	if !c.has(none) || !c.has(late) {
		t.Errorf("has one without entry %v, one with %v after a while; want both", c.has(none), c.has(late))
	}
	c.forget(1, now.Add(bareFor+time.Minute))
	if c.has(none) || !c.has(late) || len(c.ids) != 1 || len(c.bare) != 0 {
		t.Errorf("has one without entry %v, one with %v at last, %d and %d in all; want only the latter", c.has(none), c.has(late), len(c.ids), len(c.bare))
	}
}

func TestLogErrorIsQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		e := &Engine{log: slog.New(slog.NewTextHandler(&out, nil)), ctx: context.Background()}
		for range 250 { // 25 s
			e.logError("worker", "ask", errors.New("nobody answers"))
			time.Sleep(100 * time.Millisecond)
		}
		e.logError("worker", "write", errors.New("another"))
		if n := strings.Count(out.String(), "while=ask"); n != 3 {
			t.Errorf("%d lines in 25 s, want 3:\n%s", n, &out)
		}
		if !strings.Contains(out.String(), "times_before=99") || !strings.Contains(out.String(), "while=write") {
			t.Errorf("the number left out, or the other error, is missing:\n%s", &out)
		}
	})
}
