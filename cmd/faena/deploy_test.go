package main_test

import (
	"os"
	"regexp"
	"testing"
	"time"

	main "github.com/faena-dev/faena/cmd/faena"
)

// Compose killed the server at the end of its grace, before the rest of the
// shutdown had the time that it may take.
func TestComposeLeavesTimeToStop(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../deploy/docker/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`stop_grace_period: (\S+)`).FindSubmatch(b)
	if m == nil {
		t.Fatal("compose.yaml has no stop_grace_period")
	}
	got, err := time.ParseDuration(string(m[1]))
	if least := main.DefaultGrace + main.AfterGrace; err != nil || got <= least {
		t.Errorf("stop_grace_period = %v, %v, want more than %v", got, err, least)
	}
}
