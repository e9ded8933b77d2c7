package natsengine

import (
	"context"
	"errors"
	"fmt"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// stored reads a run's envelope and record, as far as they are still there.
func (h *holder) stored(ctx context.Context, row *index.Row) (*engine.Run, *engine.Record, error) {
	switch row.Stream {
	case srcLog:
		m, err := h.e.get(ctx, streamLog, row.Seq)
		if err != nil || m == nil {
			return nil, nil, err
		}
		r, err := readRecord(m.data, int(row.Off))
		return nil, r, err
	case srcFailed:
		m, err := h.e.get(ctx, streamFailed, row.Seq)
		if err != nil || m == nil {
			return nil, nil, err
		}
		run, rec, err := readCopy(m.data)
		if err == nil && rec.ID != engine.ID(row.ID) { // the run's own was lost in a power cut, and its place is another's
			return nil, nil, nil
		}
		return run, rec, err
	case srcStage:
		id, out := engine.ID(row.ID), map[engine.ID]*engine.Run{}
		err := h.fromBatch(ctx, row.Queue, row.Seq, map[engine.ID]bool{id: true}, out)
		return out[id], nil, err
	}
	stream := streamDelayed
	switch row.Stream {
	case srcQueue:
		stream = queueStream(row.Queue)
	case srcHome:
		stream = streamHome
	}
	m, err := h.e.get(ctx, stream, row.Seq)
	if err != nil || m == nil {
		return nil, nil, err
	}
	body, err := engine.FrameAt(m.data, int(row.Off))
	if err != nil {
		return nil, nil, err
	}
	var d engine.Decoder
	var r engine.Run
	return &r, nil, d.Run(body, &r)
}

// stagedRuns reads the envelopes of those runs that are in batches not expanded
// yet, each batch once.
func (h *holder) stagedRuns(ctx context.Context, rows []*index.Row) (map[engine.ID]*engine.Run, error) {
	type place struct {
		queue string
		seq   uint64
	}
	want := map[place]map[engine.ID]bool{}
	for _, row := range rows {
		if row.Stream != srcStage || engine.State(row.State).Terminal() {
			continue
		}
		p := place{row.Queue, row.Seq}
		if want[p] == nil {
			want[p] = map[engine.ID]bool{}
		}
		want[p][engine.ID(row.ID)] = true
	}
	out := map[engine.ID]*engine.Run{}
	for p, ids := range want {
		if err := h.fromBatch(ctx, p.queue, p.seq, ids, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

var errFound = errors.New("found")

// fromBatch adds to out those of a batch's runs that are wanted, as far as they are
// still there.
func (h *holder) fromBatch(ctx context.Context, queue string, seq uint64, want map[engine.ID]bool, out map[engine.ID]*engine.Run) error {
	m, err := h.e.get(ctx, queueStream(queue), seq)
	if err != nil || m == nil {
		return err
	}
	mf, ok := parseManifest(m.header)
	if !ok {
		return nil
	}
	var d engine.Decoder
	left := len(want)
	err = h.e.staged(ctx, mf, func(part []byte) error {
		return engine.Frames(part, func(body []byte, _ int) error {
			var id engine.ID
			if copy(id[:], body); !want[id] {
				return nil
			}
			r := new(engine.Run)
			out[id] = r
			if err := d.Run(body, r); err != nil {
				return err
			}
			if left--; left == 0 {
				return errFound
			}
			return nil
		})
	})
	if errors.Is(err, errFound) || errors.Is(err, errIncomplete) {
		return nil
	}
	return err
}

// readCopy reads a message of the stream of failed runs: envelope and record.
func readCopy(msg []byte) (*engine.Run, *engine.Record, error) {
	var d engine.Decoder
	run, rec, n := new(engine.Run), new(engine.Record), 0
	err := engine.Frames(msg, func(body []byte, _ int) error {
		n++
		if n == 1 {
			return d.Run(body, run)
		}
		return d.Record(body, rec)
	})
	if err == nil && n != 2 {
		err = fmt.Errorf("read the copy of a run: %d frames, want 2", n)
	}
	if run.Task == "" { // the envelope was gone when the copy was made
		run = nil
	}
	return run, rec, err
}
