package natsengine

import (
	"context"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Stop implements engine.Worker.
func (w *worker) Stop(ctx context.Context) error {
	if !w.once.Swap(true) {
		w.stop(ctx)
		w.e.worker.CompareAndSwap(w, nil) // there may be another
	}
	<-w.done
	return nil
}

// afterCancel is how long attempts may take to end once their context has.
const afterCancel = 5 * time.Second

func (w *worker) stop(ctx context.Context) {
	defer close(w.done)
	w.mu.Lock()
	w.stopping = true
	back := w.notBegunLocked()
	ins := w.intakes
	w.cond.Broadcast()
	w.mu.Unlock()
	w.flush.end()
	for _, in := range ins {
		in.close()
	}
	for _, it := range back {
		w.flush.requeue(it)
	}
	w.settleAll(ctx)
	w.cancel(engine.ErrShutdown)
	if !w.e.dead.Load() {
		last, cancel := context.WithTimeout(w.e.ctx, afterCancel)
		w.settleAll(last)
		w.flush.drain(last)
		w.e.objects.spent.drain(last)
		cancel()
		w.beat(true)
	}
	w.flush.stop()
	w.doubts.stop()
	w.stops.stop()
	w.wg.Wait()
	if !w.e.dead.Load() && w.nc.IsConnected() {
		flush, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = w.nc.FlushWithContext(flush) // acknowledgements; without them runs are asked about again
		cancel()
		w.acked(ins)
	}
	w.nc.Close()
}

// acked waits, where the server may end next, until it has noted acknowledgements:
// what it has not is in doubt at the next start.
func (w *worker) acked(ins []*intake) {
	if w.e.holder == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), ackedFor)
	defer cancel()
	for _, in := range ins {
		for in.src == srcQueue && ctx.Err() == nil {
			c, err := w.e.js.Consumer(ctx, in.stream, in.consumer)
			if err != nil || c.CachedInfo().NumAckPending == 0 || sleep(ctx, 5*time.Millisecond) != nil {
				break
			}
		}
	}
}

// ackedFor bounds that: other processes may have messages of the same queue.
const ackedFor = 100 * time.Millisecond

// notBegunLocked takes out all runs that no slot has in hand: those that are
// ready, asked about, wait for their time, or for an older message of theirs.
func (w *worker) notBegunLocked() []*item {
	w.ready, w.suspects.aside = ready{}, nil
	w.feedLocked()
	var back []*item
	for it := range w.doubles {
		back = append(back, it)
	}
	clear(w.doubles)
	for _, it := range w.runs {
		if !it.taken && !it.settled {
			back = append(back, it)
		}
	}
	for _, it := range back {
		it.settled = true
	}
	return back
}

// waitingGrace is how long a worker that stops waits for attempts that only wait
// for other runs: those are executed nowhere, perhaps, and the attempts find them
// again when they are made anew.
const waitingGrace = 3 * time.Second

// settleAll waits until no attempt is under way, and no batch half expanded.
func (w *worker) settleAll(ctx context.Context) {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	var turns uint64
	idle := time.Now() // since when nothing has moved, and all that is left waits for other runs
	for {
		w.mu.Lock()
		n, waits := w.busy+w.waiting+w.expands, w.waiting > 0 && w.busy+w.expands == 0
		if !waits || w.turns != turns {
			idle, turns = time.Now(), w.turns
		}
		w.mu.Unlock()
		if n == 0 || ctx.Err() != nil || waits && time.Since(idle) > waitingGrace {
			return
		}
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
}

// handBack gives a run that is not to be executed here back to its queue, as a
// new message: a nak would leave open whether it had begun.
func (w *worker) handBack(it *item) {
	w.mu.Lock()
	it.settled = true
	w.mu.Unlock()
	w.flush.requeue(it)
}
