package natsengine

import "time"

// A run that was in hand when a process died may have killed it, and after some
// deaths it fails. Those that merely ran beside the one that did it must not fail
// with it: whoever has one death left executes while no other suspect does.

// suspectFor is how long an attempt is watched: what lives that long does not kill
// at once.
const suspectFor = 10 * time.Second

// suspects are the runs with deaths that are under way: from before their start
// until their end is on disk. Guarded by the worker's mu.
type suspects struct {
	n     int     // under way
	last  int     // of them, with one death left; then they are alone
	aside []*item // wait for others
}

// suspectLocked tells whether a run may begin beside those under way. If not it
// stands aside until it may.
func (w *worker) suspectLocked(it *item) bool {
	deaths := int(it.deaths())
	if deaths == 0 || it.suspect {
		return true
	}
	s := &w.suspects
	it.last = deaths >= w.o.Deaths-1
	if s.last > 0 || it.last && s.n > 0 {
		s.aside = append(s.aside, it)
		return false
	}
	it.suspect = true
	s.n++
	if it.last {
		s.last++
	}
	return true
}

// clearLocked tells that a run, if it was a suspect, has not killed this process.
func (w *worker) clearLocked(it *item) {
	if !it.suspect {
		return
	}
	it.suspect = false
	w.suspects.n--
	if it.last {
		w.suspects.last--
	}
	w.nextSuspectsLocked()
}

// nextSuspectsLocked makes those ready again that may begin now, in their order.
func (w *worker) nextSuspectsLocked() {
	s := &w.suspects
	if s.last > 0 || w.stopping {
		return
	}
	for len(s.aside) > 0 {
		it := s.aside[0]
		if it.last && s.n > 0 {
			break
		}
		s.aside[0] = nil
		s.aside = s.aside[1:]
		w.ready.push(it)
		if it.last {
			break
		}
	}
	w.wakeLocked()
}

// watchSuspects looks after those that have been at it for long, and those that
// stand aside.
func (w *worker) watchSuspects(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.suspects.n > 0 {
		for _, it := range w.runs {
			if it.suspect && it.running && now.Sub(it.started) > suspectFor {
				w.clearLocked(it)
			}
		}
	}
	w.nextSuspectsLocked()
}
