package natsengine

import (
	"errors"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Expansion of a batch. The first runs go singly, to learn how long they take;
// the rest in chunks of no more work than a worker may hold ahead.
const (
	singles   = 256
	learnFor  = 300 * time.Millisecond
	chunkMost = 64
)

// expand makes a batch's staged runs messages of their own and acknowledges the
// manifest. Doing it twice is harmless: the second time they are in doubt.
func (w *worker) expand(u *unit, m manifest, doubt bool) {
	e := w.e
	for ; ; doubt = true {
		err := w.tryExpand(m, doubt)
		if err == nil || errors.Is(err, errIncomplete) {
			break // incomplete: expanded before, or never acknowledged
		}
		if e.died(err) || w.ctx.Err() != nil {
			return
		}
		w.logError("expand a batch; trying again", err)
		if sleep(w.ctx, retryPause) != nil {
			return
		}
	}
	if err := e.forget(w.ctx, streamStage, subjectStage+m.batch); err != nil && e.written(err) != nil {
		w.logError("drop a staged batch", err)
	}
	w.ackUnit(u)
}

func (w *worker) tryExpand(m manifest, doubt bool) error {
	parts, err := w.e.staged(w.ctx, m)
	if err != nil {
		return err
	}
	x := &expansion{w: w, doubt: doubt, chunk: 1, look: singles, since: time.Now()}
	for i, p := range parts {
		parts[i] = nil
		if err := x.part(p); err != nil {
			return err
		}
	}
	return w.e.commit(w.ctx)
}

// expansion is one go at a batch.
type expansion struct {
	w     *worker
	doubt bool
	dec   engine.Decoder
	n     int // runs published
	chunk int // how many go together
	look  int // at which n to choose that anew
	since time.Time
}

// part publishes the runs of one staged part and waits for the answers, so that
// the server sets the pace.
func (x *expansion) part(data []byte) error {
	w := x.w
	var runs []engine.Run
	err := engine.Frames(data, func(body []byte, _ int) error {
		var r engine.Run
		err := x.dec.Run(body, &r)
		r.Rev++
		r.Doubt = r.Doubt || x.doubt
		runs = append(runs, r)
		return err
	})
	if err != nil {
		return err
	}
	g := w.pub.group()
	for len(runs) > 0 {
		if x.n >= x.look {
			if err := g.wait(w.ctx); err != nil { // they have to be there to be learned from
				return err
			}
			g = w.pub.group()
			if x.chunk = w.chunk(&runs[0], x.since); x.chunk == 0 {
				return engine.ErrShutdown
			}
			x.look = x.n + 16*singles
		}
		some := runs[:min(x.chunk, len(runs))]
		runs = runs[len(some):]
		x.n += len(some)
		if err := x.publish(g, some); err != nil {
			return err
		}
	}
	return g.wait(w.ctx)
}

func (x *expansion) publish(g *group, runs []engine.Run) error {
	w := x.w
	if runs[0].At > time.Now().Add(soon).UnixMilli() {
		for i := range runs {
			if err := w.e.addDelayed(w.ctx, g, &runs[i]); err != nil {
				return err
			}
		}
		return nil
	}
	b := make([]byte, 0, 256*len(runs))
	for i := range runs {
		b = engine.AppendRun(b, &runs[i])
	}
	return g.add(w.ctx, engine.WriteEnvelope, queueSubject(runs[0].Queue), nil, b)
}

// chunk is how many runs like r may go together, once that is known or some time
// has passed; 0 when the worker stops.
func (w *worker) chunk(r *engine.Run, since time.Time) int {
	for {
		w.mu.Lock()
		p := w.tasks[taskKey{r.Queue, r.Task}]
		n := 1
		known := p != nil && p.known
		if known {
			n = most(p.avg)
		}
		w.mu.Unlock()
		if known || p == nil || time.Since(since) > learnFor {
			return n
		}
		if sleep(w.ctx, 2*time.Millisecond) != nil {
			return 0
		}
	}
}
