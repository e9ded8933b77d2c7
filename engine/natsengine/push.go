package natsengine

import (
	"slices"
	"time"
)

// later makes a run ready after d.
func (w *worker) later(it *item, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.laterLocked(it, d)
}

func (w *worker) laterLocked(it *item, d time.Duration) {
	w.late++
	time.AfterFunc(d, func() {
		w.mu.Lock()
		w.late--
		w.mu.Unlock()
		w.push(it)
	})
}

// push makes runs ready, or hands them on if they cannot begin here soon.
func (w *worker) push(items ...*item) {
	now := time.Now()
	w.mu.Lock()
	if w.stopping {
		items = slices.DeleteFunc(slices.Clone(items), func(it *item) bool { return it.settled })
		w.mu.Unlock()
		for _, it := range items {
			w.handBack(it)
		}
		return
	}
	var back, early []*item
	stuck := w.stuckLocked(now) // pulls stood open
	for _, it := range items {
		if w.paused[it.run.Queue] || stuck && !it.again {
			it.settled = true
			back = append(back, it)
			continue
		}
		if at := it.run.At; at > now.UnixMilli() {
			if at > now.Add(soon).UnixMilli() && !it.again { // of a delayed batch
				it.settled = true
				early = append(early, it)
				continue
			}
			w.laterLocked(it, time.UnixMilli(at).Sub(now))
			continue
		}
		w.ready.push(it)
	}
	w.wakeLocked()
	w.mu.Unlock()
	for _, it := range back {
		w.handBack(it)
	}
	for _, it := range early {
		w.flush.delayed(it)
	}
}
