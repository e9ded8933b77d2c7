package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"testing"
	"time"
)

func TestGaps(t *testing.T) {
	t.Parallel()
	var g gaps
	now := time.Unix(1000, 0)
	for range 20 {
		if n := g.look(now); n != 0 {
			t.Fatalf("look every 100 ms = %d gaps, want 0", n)
		}
		now = now.Add(100 * time.Millisecond)
	}
	before := g.arrival(now)
	now = now.Add(gapMost + time.Millisecond)
	if n := g.look(now); n == before {
		t.Errorf("look after a pause = %d gaps, as before it", n)
	}
	if n := g.arrival(now.Add(100 * time.Millisecond)); n == g.n {
		t.Errorf("a run that comes soon after a gap has seen %d gaps, want none of %d: it may have been delivered before", n, g.n)
	}
	for now = now.Add(100 * time.Millisecond); now.Sub(g.last) < gapAfter; now = now.Add(100 * time.Millisecond) {
		g.look(now)
	}
	if n := g.arrival(now); n != g.n {
		t.Errorf("a run that comes later has seen %d gaps, want all %d", n, g.n)
	}
}
