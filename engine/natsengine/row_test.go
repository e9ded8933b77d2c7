package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/faena-dev/faena/engine"
)

func TestNoteSaysThatItIsCut(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"bad":                          "failed: bad",
		strings.Repeat("x", 152):       "failed: " + strings.Repeat("x", 152),
		strings.Repeat("x", 153):       "failed: " + strings.Repeat("x", 149) + "…",
		"a" + strings.Repeat("é", 100): "failed: a" + strings.Repeat("é", 74) + "…",
		strings.Repeat("日", 100):       "failed: " + strings.Repeat("日", 49) + "…",
	} {
		got := note(&engine.Failure{Code: engine.CodeFailed, Message: message})
		if got != want || len(got) > 160 || !utf8.ValidString(got) {
			t.Errorf("note(%q) = %q (%d bytes), want %q", message, got, len(got), want)
		}
	}
}
