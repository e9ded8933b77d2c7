package natsengine

import "time"

const (
	// gapMost is for how long this process may have done nothing before what it
	// knows of ends is taken for old. It looks at the clock ten times a second.
	gapMost = 400 * time.Millisecond
	// gapAfter is for how long after a gap messages may come that were delivered
	// before or in it.
	gapAfter = time.Second
)

// gaps notes when this process was stopped, as by a signal, a debugger or a host
// without time for it. Runs that came before such a gap, or in it, may have been
// cancelled since, and the log's follower goes on no sooner than the slots: so it
// is asked about them before they start.
type gaps struct {
	n     int // so far
	alive time.Time
	last  time.Time // when one was found
}

// look notes that this process is alive, and gives how many gaps there were.
func (g *gaps) look(now time.Time) int {
	if !g.alive.IsZero() && now.Sub(g.alive) > gapMost {
		g.n++
		g.last = now
	}
	g.alive = now
	return g.n
}

// arrival is the number of gaps that a run has seen which comes now: none of
// them soon after one.
func (g *gaps) arrival(now time.Time) int {
	if n := g.look(now); n == 0 || now.Sub(g.last) >= gapAfter {
		return n
	}
	return -1
}
