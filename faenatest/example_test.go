package faenatest_test

import (
	"context"
	"testing"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/faenatest"
)

var Remind = faena.Define[string, string]("remind")

func remind(_ context.Context, what string) (string, error) { return "do not forget: " + what, nil }

// The guide shows it as it is.
func TestReminder(t *testing.T) {
	t.Parallel()
	faenatest.Bubble(t, func(t *testing.T, eng engine.Engine) {
		node, err := faena.Open(t.Context(), eng, faena.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := node.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := node.Handle(Remind.With(remind)); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		got, err := Remind.Run(t.Context(), node, "call Ana", faena.In(10*time.Minute))
		if err != nil || got != "do not forget: call Ana" {
			t.Errorf("Run = %q, %v", got, err)
		}
		if d := time.Since(begun); d < 10*time.Minute { // of the bubble's time
			t.Errorf("it came after %s", d)
		}
	})
}
