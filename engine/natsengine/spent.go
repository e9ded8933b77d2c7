package natsengine

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// Large values are deleted by name, each once what makes it needless is stored; by
// name, because the same id may be submitted again with another value. What a
// crash leaves is swept.

// spent are large values that nobody needs any more. They are deleted beside what
// goes on.
type spent struct {
	mu     sync.Mutex
	names  []string
	inputs []input
	busy   bool
}

// input is the large input of a run that may have succeeded.
type input struct {
	id   engine.ID
	name string
}

// drop deletes values soon.
func (o *objects) drop(names ...string) { o.spent.add(o, names, nil) }

// spend deletes the input of a run soon, whose success stands in the log, unless
// that came after another end: of what failed or was cancelled the input stays.
func (o *objects) spend(in input) { o.spent.add(o, nil, []input{in}) }

func (s *spent) add(o *objects, names []string, inputs []input) {
	if len(names)+len(inputs) == 0 {
		return
	}
	s.mu.Lock()
	s.names, s.inputs = append(s.names, names...), append(s.inputs, inputs...)
	first := !s.busy
	s.busy = true
	s.mu.Unlock()
	if first {
		go o.deleteSpent()
	}
}

// take gives what there is; with nothing the one that deletes has to end.
func (s *spent) take() (names []string, inputs []input) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, inputs = s.names, s.inputs
	s.names, s.inputs = nil, nil
	s.busy = len(names)+len(inputs) > 0
	return names, inputs
}

// drain waits until all is deleted, or ctx ends.
func (s *spent) drain(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		busy := s.busy
		s.mu.Unlock()
		if !busy || sleep(ctx, 2*time.Millisecond) != nil {
			return
		}
	}
}

func (o *objects) deleteSpent() {
	for {
		names, inputs := o.spent.take()
		if len(names)+len(inputs) == 0 {
			return
		}
		more, err := o.succeeded(inputs)
		if err == nil {
			err = o.delete(o.e.ctx, append(names, more...))
		}
		if err != nil && o.e.written(err) != nil {
			o.e.logError("janitor", "delete large values", err)
		}
	}
}

// succeeded gives the inputs of those runs that have ended so. One that the index
// does not hold any more is past its retention.
func (o *objects) succeeded(inputs []input) ([]string, error) {
	var names []string
	for part := range slices.Chunk(inputs, maxAtOnce) {
		ids := make([]engine.ID, len(part))
		for i := range part {
			ids[i] = part[i].id
		}
		infos, err := o.e.Find(o.e.ctx, ids)
		if err != nil {
			return nil, err
		}
		kept := map[engine.ID]bool{}
		for i := range infos {
			kept[infos[i].ID] = infos[i].State != engine.Succeeded
		}
		for _, in := range part {
			if !kept[in.id] {
				names = append(names, in.name)
			}
		}
	}
	return names, nil
}

// delete deletes values once all that was written before is on disk: else a power
// cut could leave a message that names one.
func (o *objects) delete(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if err := o.e.commit(ctx); err != nil {
		return err
	}
	if err := o.e.settle(ctx); err != nil {
		return err
	}
	for _, n := range names {
		if err := o.e.discard(ctx, streamObjects, underMeta+base64.URLEncoding.EncodeToString([]byte(n))); err != nil {
			return err
		}
		if err := o.e.discard(ctx, streamObjects, chunkSubject(n)); err != nil {
			return err
		}
	}
	return nil
}

// dropValues deletes the large values of runs that have left the index.
func (h *holder) dropValues(ctx context.Context, rows []index.Row) error {
	for i := range rows {
		run, rec, err := h.stored(ctx, &rows[i])
		if err != nil {
			return err
		}
		if run != nil && run.Input.Apart {
			h.e.objects.drop(run.Input.Name)
		}
		if rec != nil && rec.Output.Apart {
			h.e.objects.drop(rec.Output.Name)
		}
	}
	return nil
}

// value is a large value as its subjects tell of it.
type value struct {
	name    string
	kind    string // in, out or saved
	subject string
}

// sweepValues deletes large values that crashes have left.
func (h *holder) sweepValues(ctx context.Context, now time.Time) error {
	all, err := h.values(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	if err := h.barrierNow(ctx); err != nil { // whose runs are stored by now are known then
		return err
	}
	ids := make([]engine.ID, 0, len(all))
	for id := range all {
		ids = append(ids, id)
	}
	var names []string
	for part := range slices.Chunk(ids, 500) {
		known, err := h.known(part)
		if err != nil {
			return err
		}
		for _, id := range part {
			n, err := h.needless(ctx, now, id, known[id], all[id])
			if err != nil {
				return err
			}
			names = append(names, n...)
		}
	}
	return h.e.objects.delete(ctx, names)
}

// values lists what is stored, also what was never whole, by run.
func (h *holder) values(ctx context.Context) (map[engine.ID][]value, error) {
	s, err := h.e.stream(ctx, streamObjects)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter("$O."+bucketObjects+".>"))
	if err != nil {
		return nil, fmt.Errorf("list large values: %w", unavailable(err))
	}
	out, seen := map[engine.ID][]value{}, map[string]bool{}
	for subject := range info.State.Subjects {
		name, ok := strings.CutPrefix(subject, underChunks)
		if !ok {
			b, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(subject, underMeta))
			if err != nil {
				continue
			}
			name = string(b)
		}
		f := strings.Split(name, ".")
		if len(f) != 3 || seen[name] {
			continue
		}
		id, err := engine.ParseID(f[0])
		if err != nil {
			continue
		}
		seen[name] = true
		out[id] = append(out[id], value{name, f[1], subject})
	}
	return out, nil
}

// needless gives those of a run's values that it does not need. What has just been
// stored may be named within moments; and the first message of a run that is not
// there may be under way, its long inputs being stored.
func (h *holder) needless(ctx context.Context, now time.Time, id engine.ID, row *index.Row, values []value) ([]string, error) {
	age := orphanAge
	var spent func(v value) (bool, error)
	switch {
	case row == nil:
		age = stageAge
		spent = func(value) (bool, error) {
			home, err := h.atHome(ctx, id)
			return !home, err
		}
	case engine.State(row.State).Terminal():
		spent = h.spentBy(ctx, row, values)
	default:
		spent = func(v value) (bool, error) {
			if v.kind != "saved" {
				return false, nil
			}
			return h.replaced(ctx, id, v.name)
		}
	}
	var names []string
	for _, v := range values {
		ok, err := spent(v)
		if err == nil && ok {
			ok, err = h.olderThan(ctx, v, now.Add(-age))
		}
		if err != nil {
			return nil, err
		}
		if ok {
			names = append(names, v.name)
		}
	}
	return names, nil
}

// spentBy tells what a run that has ended does not need: its checkpoint, its input
// if it has succeeded, and outputs of attempts that came too late.
func (h *holder) spentBy(ctx context.Context, row *index.Row, values []value) func(value) (bool, error) {
	outs := 0
	for _, v := range values {
		if v.kind == "out" {
			outs++
		}
	}
	good := engine.State(row.State) == engine.Succeeded
	return func(v value) (bool, error) {
		switch {
		case v.kind == "in":
			return good, nil
		case v.kind == "saved" || !good:
			return true, nil
		case outs == 1: // most likely it is the run's
			return false, nil
		}
		_, rec, err := h.stored(ctx, row)
		return rec != nil && rec.Output.Name != v.name, err
	}
}

// olderThan tells whether a value has been there since before a time.
func (h *holder) olderThan(ctx context.Context, v value, t time.Time) (bool, error) {
	m, err := h.e.getLast(ctx, streamObjects, v.subject)
	return m != nil && m.time.Before(t), err
}

// atHome tells whether a run that the index does not know executes apart from its
// queue: an index that was built anew learns of it when it ends or moves.
func (h *holder) atHome(ctx context.Context, id engine.ID) (bool, error) {
	m, err := h.e.getLast(ctx, streamHome, subjectHome+id.String())
	return m != nil, err
}
