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
	var runs []engine.Run
	var d engine.Decoder
	for _, p := range parts {
		err := engine.Frames(p, func(body []byte, _ int) error {
			var r engine.Run
			err := d.Run(body, &r)
			r.Rev++
			r.Doubt = r.Doubt || doubt
			runs = append(runs, r)
			return err
		})
		if err != nil {
			return err
		}
	}
	now := time.Now().UnixMilli()
	g := w.pub.group()
	chunk, since := 1, time.Now()
	for i := 0; i < len(runs); {
		if i >= singles && chunk == 1 {
			if chunk = w.chunk(&runs[i], since); chunk == 0 {
				return engine.ErrShutdown
			}
		}
		part := runs[i:min(i+chunk, len(runs))]
		i += len(part)
		if part[0].At > now+soon.Milliseconds() {
			for k := range part {
				if err := w.e.addDelayed(w.ctx, g, &part[k]); err != nil {
					return err
				}
			}
			continue
		}
		b := make([]byte, 0, 256*len(part))
		for k := range part {
			b = engine.AppendRun(b, &part[k])
		}
		if err := g.add(w.ctx, engine.WriteEnvelope, queueSubject(part[0].Queue), nil, b); err != nil {
			return err
		}
	}
	if err := g.wait(w.ctx); err != nil {
		return err
	}
	return w.e.commit(w.ctx)
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
			for n < chunkMost && p.short(2*n) {
				n *= 2
			}
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
