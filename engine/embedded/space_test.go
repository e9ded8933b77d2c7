package embedded_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/faena-dev/faena/engine/embedded"
)

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
