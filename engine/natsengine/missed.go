package natsengine

import (
	"context"
	"slices"
	"time"

	"github.com/faena-dev/faena/engine"
)

// missed starts what asks about all runs that are waited for, whenever the function
// that it gives is called because the connection is back. Their records may have
// left the log while it was lost: then nobody would ever be told.
func (f *follower) missed() func() {
	e := f.e
	lost := make(chan struct{}, 1)
	e.wg.Go(func() {
		for {
			select {
			case <-lost:
			case <-e.ctx.Done():
				return
			}
			for err := f.askMissed(); err != nil; err = f.askMissed() {
				e.logError("engine", "ask about runs that are waited for", err)
				if sleep(e.ctx, askPause) != nil {
					return
				}
			}
		}
	})
	return func() {
		select {
		case lost <- struct{}{}:
		default: // it is about to ask
		}
	}
}

const (
	// askPause is between tries.
	askPause = time.Second
	// askAfter is how long the log must have told nothing before it is asked about
	// what it did not tell.
	askAfter = 500 * time.Millisecond
	// missedMost bounds the runs of one question.
	missedMost = 1000
)

func (f *follower) askMissed() error {
	e := f.e
	if len(e.watches.open()) == 0 {
		return nil
	}
	if err := f.caughtUp(e.ctx); err != nil {
		return err
	}
	for ids := range slices.Chunk(e.watches.open(), missedMost) {
		stored := make([][]engine.Waiter, len(ids)) // before it is asked: what is stored meanwhile the answer may not know
		for i, id := range ids {
			stored[i] = e.watches.stored(id)
		}
		infos, err := e.Find(e.ctx, ids)
		if err != nil {
			return err
		}
		known := make(map[engine.ID]engine.State, len(infos))
		for i := range infos {
			known[infos[i].ID] = infos[i].State
		}
		for i, id := range ids {
			switch state, ok := known[id]; {
			case !ok:
				e.watches.forgotten(id, stored[i])
			case state.Terminal():
				if err := e.askEnd(id, stored[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// caughtUp waits until the log has been read up to where it ends now, or tells
// nothing more: its last records may be gone.
func (f *follower) caughtUp(ctx context.Context) error {
	last, err := f.e.last(ctx, streamLog)
	if err != nil {
		return err
	}
	for seen, was := f.seen.Load(), ^uint64(0); seen < last && seen != was; seen, was = f.seen.Load(), seen {
		if err := sleep(ctx, askAfter); err != nil {
			return err
		}
	}
	return nil
}

// askEnd tells who waits for a run that has ended of its record, and those for whom
// it was stored if that has gone meanwhile.
func (e *Engine) askEnd(id engine.ID, stored []engine.Waiter) error {
	if !e.watches.ask(id) {
		return nil // told meanwhile
	}
	var r *engine.Record
	a, err := e.call(e.ctx, opRecord, &request{IDs: []engine.ID{id}})
	if err == nil && len(a.Record) > 0 {
		r, err = readRecord(a.Record, 1)
	}
	e.watches.release(id, r)
	if engine.CodeOf(err) == engine.CodeNotFound {
		e.watches.forgotten(id, stored)
		return nil
	}
	return err
}
