package natsengine

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
)

// headerApart names the object that holds a large checkpoint.
const headerApart = "Faena-Value"

// saveCheckpoint writes one, apart if it is large: header and name then stand in
// for it. Large ones before it are deleted after that.
func (it *item) saveCheckpoint(ctx context.Context, data []byte) error {
	e, h, name := it.w.e, nats.Header{}, ""
	server := e.server()
	if len(data) > maxInline {
		if err := it.readSaved(ctx); err != nil {
			return err
		}
		name = e.objectName(it.run.ID, "saved")
		it.noteSaved(name) // whatever becomes of it
		if _, err := e.objects.put(ctx, name, data); err != nil {
			return err
		}
		h.Set(headerApart, name)
		data = nil
	}
	g := e.pub.group()
	if name != "" && g.server != server { // which may have lost the value
		return errMoved
	}
	if err := g.add(ctx, engine.WriteCheckpoint, subjectSaved+it.run.ID.String(), h, data); err != nil {
		return err
	}
	if err := g.wait(ctx); err != nil { // the one before may still count
		return err
	}
	e.objects.drop(it.savedBefore(name)...)
	return nil
}

// readSaved learns the name of a large checkpoint that an earlier attempt left.
func (it *item) readSaved(ctx context.Context) error {
	it.w.mu.Lock()
	read := it.save.read
	it.w.mu.Unlock()
	if read {
		return nil
	}
	m, err := it.w.e.getLast(ctx, streamSaved, subjectSaved+it.run.ID.String())
	if err != nil {
		return err
	}
	if m != nil {
		it.noteSaved(m.header.Get(headerApart))
	}
	it.w.mu.Lock()
	it.save.read = true
	it.w.mu.Unlock()
	return nil
}

func (it *item) noteSaved(name string) {
	it.w.mu.Lock()
	defer it.w.mu.Unlock()
	if name != "" && !slices.Contains(it.save.apart, name) {
		it.save.apart = append(it.save.apart, name)
	}
}

// savedBefore takes the names of all large checkpoints but one.
func (it *item) savedBefore(name string) []string {
	it.w.mu.Lock()
	defer it.w.mu.Unlock()
	old := slices.DeleteFunc(it.save.apart, func(s string) bool { return s == name })
	it.save.apart = nil
	if name != "" {
		it.save.apart = []string{name}
	}
	return old
}

// unsave deletes the checkpoints of a run that has ended. One that is being stored
// goes when it is.
func (it *item) unsave() {
	w := it.w
	w.mu.Lock()
	it.save.over, it.save.dirty = true, false
	busy := it.save.busy
	w.mu.Unlock()
	if busy {
		return
	}
	if err := w.e.discard(w.writes, streamSaved, subjectSaved+it.run.ID.String()); err != nil && w.e.written(err) != nil {
		w.logError("drop a checkpoint", err)
	}
	w.e.objects.drop(it.savedBefore("")...)
}

// unsave deletes the checkpoint of a run that ended between its attempts.
func (h *holder) unsave(ctx context.Context, id engine.ID) error {
	m, err := h.e.getLast(ctx, streamSaved, subjectSaved+id.String())
	if err != nil || m == nil {
		return err
	}
	if err := h.e.forget(ctx, streamSaved, m.subject); err != nil {
		return err
	}
	if name := m.header.Get(headerApart); name != "" {
		h.e.objects.drop(name)
	}
	return nil
}

// Resume implements engine.Lease.
func (it *item) Resume(ctx context.Context) ([]byte, error) {
	w := it.w
	w.mu.Lock()
	it.saved = true
	w.mu.Unlock()
	for last := ""; ; {
		m, err := w.e.getLast(ctx, streamSaved, subjectSaved+it.run.ID.String())
		if err != nil || m == nil {
			return nil, err
		}
		name := m.header.Get(headerApart)
		if name == "" {
			return m.data, nil
		}
		it.noteSaved(name)
		b, err := w.e.objects.get(ctx, name)
		if engine.CodeOf(err) != engine.CodeNotFound {
			return b, err
		}
		if name == last { // named long after it was stored, by an attempt that is not the run's any more
			w.e.log.WarnContext(ctx, "a large checkpoint is gone: the attempt starts from the beginning", "run", it.run.ID)
			return nil, nil
		}
		last = name // replaced and deleted meanwhile
	}
}

// replaced tells whether a run's newest checkpoint is not the one named.
func (h *holder) replaced(ctx context.Context, id engine.ID, name string) (bool, error) {
	m, err := h.e.getLast(ctx, streamSaved, subjectSaved+id.String())
	if err != nil {
		return false, fmt.Errorf("look for the checkpoint of %s: %w", id, err)
	}
	return m == nil || m.header.Get(headerApart) != name, nil
}
