package natsengine

import "time"

// pauseChecked is how often a worker asks about queues that it takes for paused:
// news of a resumption may be lost.
const pauseChecked = time.Second

// kicked is told that a queue was paused or resumed. What was asked for while it
// was paused may not be answered, so it asks again.
func (w *worker) kicked(queue string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, in := range w.intakes {
		if in.queue == queue {
			in.open = 0
		}
	}
	if !w.stopping && len(w.queues[queue]) > 0 {
		w.wg.Go(func() { w.checkPause(queue) })
	}
}

// checkPause asks whether a queue is paused. If it is, what stands ready here goes
// back to it, and a batch that is fed goes on as messages.
func (w *worker) checkPause(queue string) {
	w.pauses.Lock() // the last one to ask has the last word
	defer w.pauses.Unlock()
	until, err := w.e.pausedUntil(w.ctx, queue)
	if err != nil {
		if w.ctx.Err() == nil {
			w.logError("ask whether a queue is paused", err)
		}
		return
	}
	var back []*item
	w.mu.Lock()
	if until == nil {
		delete(w.paused, queue)
	} else {
		w.paused[queue] = true
		for l := w.ready.lanes[queue]; l != nil && l.n > 0; {
			it := w.ready.take(l)
			it.settled = true
			back = append(back, it)
		}
		w.feedLocked()
	}
	w.mu.Unlock()
	for _, it := range back {
		w.handBack(it)
	}
	w.pump()
}

// checkPauses asks about all queues, or those that are taken for paused.
func (w *worker) checkPauses(all bool) {
	var queues []string
	w.mu.Lock()
	for q := range w.queues {
		if (all || w.paused[q]) && !w.stopping {
			queues = append(queues, q)
		}
	}
	w.mu.Unlock()
	for _, q := range queues {
		w.checkPause(q)
	}
}
