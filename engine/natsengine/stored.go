package natsengine

import (
	"bytes"
	"cmp"
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
		return readCopy(m.data)
	case srcStage:
		m, err := h.e.get(ctx, queueStream(row.Queue), row.Seq)
		if err != nil || m == nil {
			return nil, nil, err
		}
		return h.stagedRun(ctx, m, engine.ID(row.ID))
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

var errFound = errors.New("found")

// stagedRun looks through a batch that has not been expanded for one run.
func (h *holder) stagedRun(ctx context.Context, m *fetched, id engine.ID) (*engine.Run, *engine.Record, error) {
	mf, ok := parseManifest(m.header)
	if !ok {
		return nil, nil, nil
	}
	var d engine.Decoder
	var found *engine.Run
	err := h.e.staged(ctx, mf, func(part []byte) error {
		return engine.Frames(part, func(body []byte, _ int) error {
			if !bytes.HasPrefix(body, id[:]) {
				return nil
			}
			found = new(engine.Run)
			return cmp.Or(d.Run(body, found), errFound)
		})
	})
	if err != nil && !errors.Is(err, errFound) && !errors.Is(err, errIncomplete) {
		return nil, nil, err
	}
	return found, nil, nil
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
		m, err := h.e.get(ctx, queueStream(p.queue), p.seq)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		mf, ok := parseManifest(m.header)
		if !ok {
			continue
		}
		var d engine.Decoder
		err = h.e.staged(ctx, mf, func(part []byte) error {
			return engine.Frames(part, func(body []byte, _ int) error {
				var id engine.ID
				if copy(id[:], body); !ids[id] {
					return nil
				}
				r := new(engine.Run)
				out[id] = r
				return d.Run(body, r)
			})
		})
		if err != nil && !errors.Is(err, errIncomplete) {
			return nil, err
		}
	}
	return out, nil
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
