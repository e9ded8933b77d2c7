package embedded_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// A server that hangs after the disk was full left the process there for 20 s, and
// then with nobody who could tell that from any other failure.
func TestAServerThatHangsIsTold(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		failed := make(chan error, 1)
		e, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Sync: func() error { return nil }, Fatal: func(err error) { failed <- err }})
		if err != nil {
			t.Fatalf("Open = %v", err)
		}
		if err := e.Submit(t.Context(), []engine.Run{{ID: engine.NewIDs().New(), Queue: "q", Task: "task"}}); err != nil {
			t.Fatalf("Submit = %v", err)
		}
		release := e.Hang()
		defer release()
		begun := time.Now()
		e.Restart()
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("Restart gave up after %v, want 10 s", took)
		}
		if err := <-failed; !errors.Is(err, embedded.ErrHung) {
			t.Errorf("Fatal was told %v, want ErrHung", err)
		}
		if err := e.Err(); !errors.Is(err, embedded.ErrHung) || engine.CodeOf(err) != engine.CodeClosed {
			t.Errorf("Err = %v (%s), want ErrHung with code closed", err, engine.CodeOf(err))
		}
		release()
		if err := e.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

// That there is space again was a warning, in the words of the one that there is
// none.
func TestThatSpaceIsThereAgainIsNoWarning(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	embedded.Tell(slog.New(slog.NewTextHandler(&b, nil)))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, want := range []string{"WARN short", "WARN held back", "INFO again: runs are started", "INFO again: runs are accepted"} {
		level, text, _ := strings.Cut(want, " ")
		if i >= len(lines) || !strings.Contains(lines[i], "level="+level) || !strings.Contains(lines[i], text) {
			t.Errorf("log = %q, want line %d at %s with %q", lines, i, level, text)
		}
	}
}
