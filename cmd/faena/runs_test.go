package main_test

import (
	"strings"
	"testing"

	"github.com/faena-dev/faena"
	main "github.com/faena-dev/faena/cmd/faena"
)

func TestShowRunSaysThePanicOnce(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{"panic: oh": "panic: oh", "oh": "panic: oh", "panicked: oh": "panic: panicked: oh"} {
		var b strings.Builder
		in := faena.Info{State: faena.Failed, Error: &faena.Failure{Code: faena.CodePanic, Message: message}}
		if err := main.ShowRun(&b, false, &in); err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(b.String(), "error")
		if got := strings.TrimSpace(line); got != want {
			t.Errorf("ShowRun of %q says %q, want %q", message, got, want)
		}
	}
}
