package natsengine

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// A failed run is kept for long, its retry, once it has succeeded, for a day. An
// index that is built anew after that would not know that the run was retried, and
// to retry all that failed would execute it again. So each call that retries runs
// leaves a note of both ids, which the server drops when none of the runs is kept.
// It is written after the retries are stored: of a call that died before it, only
// what was told to nobody is forgotten.

// pair is the length of two ids.
const pair = 2 * len(engine.ID{})

// noteRetried notes which runs these repeat, until all of those are forgotten.
func (h *holder) noteRetried(ctx context.Context, runs []engine.Run, until time.Time) error {
	keep := max(time.Until(until), 0) + time.Hour // they go a moment later
	m := &nats.Msg{Subject: subjectRetried, Header: nats.Header{"Nats-TTL": {strconv.Itoa(int(keep/time.Second)) + "s"}}}
	for i := range runs {
		m.Data = append(append(m.Data, runs[i].RetryOf[:]...), runs[i].ID[:]...)
	}
	return h.e.hooked(engine.WriteRetried, func() error {
		if _, err := h.e.js.PublishMsg(ctx, m); err != nil {
			return fmt.Errorf("note which runs were retried: %w", unavailable(err))
		}
		return nil
	})
}

// recoverRetried reads into an index that was built anew which runs were retried.
func (h *holder) recoverRetried(ctx context.Context) error {
	newest, err := h.e.getLast(ctx, streamRetried, subjectRetried)
	if err != nil || newest == nil {
		return err
	}
	c := &change{pos: posRetried, seq: newest.seq, time: newest.time.UnixNano()}
	for from := uint64(1); ; {
		next, err := h.e.batchGet(ctx, streamRetried, subjectRetried, from, 1)
		if err != nil {
			return err
		}
		if len(next) == 0 {
			h.feed(c)
			return nil
		}
		from = next[0].seq + 1
		data := next[0].data
		for ; len(data) >= pair; data = data[pair:] {
			c.marks = append(c.marks, index.Mark{Of: index.ID(data[:pair/2]), By: index.ID(data[pair/2 : pair])})
		}
		if len(data) > 0 {
			h.e.log.ErrorContext(ctx, "read which runs were retried", "seq", next[0].seq, "bytes", len(next[0].data))
		}
	}
}
