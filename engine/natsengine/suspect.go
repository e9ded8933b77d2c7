package natsengine

import "time"

// A run that was in hand when a process died may have killed it, and after some
// deaths it fails. Those that merely ran beside the one that did it must not fail
// with it: of those that have one death left one executes at a time.

// suspectFor is how long such an attempt is watched: what lives that long does not
// kill at once. It is also what the next one waits, when a worker that was killed
// twice had several in hand, so it is short.
const suspectFor = 2 * time.Second

// suspects are the runs with deaths that are under way: from before their start
// until their end is on disk. Guarded by the worker's mu.
type suspects struct {
	last  int     // under way with one death left; at most one
	aside []*item // wait for that one
}

// suspectLocked tells whether a run may begin beside those under way. If not it
// stands aside until it may.
func (w *worker) suspectLocked(it *item) bool {
	deaths := int(it.deaths())
	if deaths == 0 || deaths < w.o.Deaths-1 || it.suspect {
		return true
	}
	s := &w.suspects
	if s.last > 0 {
		s.aside = append(s.aside, it)
		return false
	}
	it.suspect = true
	s.last++
	return true
}

// clearLocked tells that a run, if it was a suspect, has not killed this process.
func (w *worker) clearLocked(it *item) {
	if !it.suspect {
		return
	}
	it.suspect = false
	w.suspects.last--
	w.nextSuspectsLocked()
}

// nextSuspectsLocked makes the first that stands aside ready again if it may begin
// now.
func (w *worker) nextSuspectsLocked() {
	s := &w.suspects
	if s.last > 0 || w.stopping || len(s.aside) == 0 {
		return
	}
	it := s.aside[0]
	s.aside[0] = nil
	s.aside = s.aside[1:]
	w.ready.push(it)
	w.wakeLocked()
}

// watchSuspects looks after one that has been at it for long, and those that stand
// aside.
func (w *worker) watchSuspects(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.suspects.last > 0 {
		for _, it := range w.runs {
			if it.suspect && it.running && now.Sub(it.started) > suspectFor {
				w.clearLocked(it)
			}
		}
	}
	w.nextSuspectsLocked()
}
