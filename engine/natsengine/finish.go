package natsengine

import (
	"fmt"
	"time"

	"github.com/faena-dev/faena/engine"
)

// finish writes what follows an attempt that ended now.
func (w *worker) finish(it *item, out engine.Outcome, now time.Time) {
	if w.e.dead.Load() {
		return
	}
	next := it.run.After(out, now)
	if next.State == engine.Retrying {
		it.saveNow()
	}
	if out.Interrupted {
		w.handBack(it)
		return
	}
	if next.Charged {
		it.run.Attempt++
	}
	if next.State == engine.Retrying {
		w.again(it, next)
		return
	}
	rec := w.record(it, next, now)
	var large largeOutput
	if next.State == engine.Succeeded {
		rec.Output = engine.Value{Data: out.Output}
		if len(out.Output) > maxInline {
			v, server, err := w.putOutput(it, out.Output)
			if err != nil {
				return
			}
			if !v.Apart { // no retry can make it smaller
				it.run.Attempt--
				w.finish(it, engine.Outcome{Permanent: true, Failure: &engine.Failure{
					Code: engine.CodeTooLarge, Message: fmt.Sprintf("a result of %d bytes is over the limit of %d", len(out.Output), maxValue),
				}}, now)
				return
			}
			rec.Output = v
			if w.e.holder == nil { // whose disk has lost no power
				large = largeOutput{server, out.Output}
			}
		}
	}
	w.flush.add(job{it: it, kind: jobRecord, rec: rec, large: large})
}

// largeOutput is what is stored apart of a run, and the server that has it. It is
// kept until the record is on disk: another server may not have it.
type largeOutput struct {
	server string
	data   []byte
}

// putOutput stores a large result, for as long as it takes; one that is over the
// limit it gives back empty. An error says that nothing is written any more.
func (w *worker) putOutput(it *item, data []byte) (v engine.Value, server string, err error) {
	for {
		server = w.e.server()
		v, err = w.e.objects.put(w.writes, w.e.objectName(it.run.ID, "out"), data)
		if err == nil || engine.CodeOf(err) == engine.CodeTooLarge {
			return v, server, nil
		}
		if w.e.died(err) || w.writes.Err() != nil {
			return v, server, err
		}
		w.logError("store a large result", err)
		if sleep(w.writes, retryPause) != nil {
			return v, server, err
		}
	}
}

func (w *worker) record(it *item, next engine.Next, now time.Time) engine.Record {
	r := &it.run
	keep := r.Keep[0]
	if next.State == engine.Failed {
		keep = r.Keep[1]
	}
	rec := engine.Record{
		ID: r.ID, State: next.State, Queue: r.Queue, Task: r.Task, Rev: rank(r.Rev, 1), Attempt: r.Attempt, Deaths: r.Deaths,
		Keep: keep, End: now.UnixMilli(), Parent: r.Parent, RetryOf: r.RetryOf, Tags: r.Tags, Failure: next.Failure,
	}
	if !it.started.IsZero() {
		rec.Start = it.started.UnixMilli()
	}
	if u := it.u; u != nil {
		rec.Src, rec.SrcSeq = u.in.src, u.seq
	}
	return rec
}

// again schedules the next attempt: a short wait is spent here, without a slot
// and under the lease; a longer one is a message of its own. So is one of a run
// with deaths: its recorded start has an end now, and must not count as another.
func (w *worker) again(it *item, next engine.Next) {
	if next.Failure != nil {
		it.run.Failure = next.Failure
	}
	it.run.At = next.At.UnixMilli()
	if d := time.Until(next.At); d < soon {
		w.mu.Lock()
		suspect := it.step > 0 || it.deaths() > 0
		it.settled, it.taken = w.stopping || suspect, false
		it.started = time.Time{}
		it.doubt = it.doubt || suspect // each of its starts is recorded: none is assumed
		w.clearLocked(it)
		back := it.settled // as of now: a stop that comes next hands it back itself
		w.mu.Unlock()
		if back {
			w.flush.requeue(it)
			return
		}
		w.later(it, d)
		return
	}
	w.flush.delayed(it)
}
