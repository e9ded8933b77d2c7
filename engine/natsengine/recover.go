package natsengine

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
)

// recover sets things right after this server was down. Where no other process
// can hold a lease any more, or where a power cut may have left consumers ahead
// of the log, consumers are made anew: everything that stands in a queue is then
// delivered again, and asked about, because it is older than this moment. Else
// only those are that a damaged message holds up.
func (h *holder) recover(ctx context.Context) error {
	streams := []string{streamDelayed}
	h.mu.Lock()
	for pos := range h.tails {
		if hasPrefix(pos, "q.") {
			streams = append(streams, queueStream(pos[2:]))
		}
	}
	h.mu.Unlock()
	for _, name := range streams {
		if err := h.renewConsumers(ctx, name); err != nil {
			return err
		}
	}
	if h.cfg.Alone {
		return h.adoptAll(ctx)
	}
	return nil
}

func (h *holder) renewConsumers(ctx context.Context, stream string) error {
	e := h.e
	all, err := e.consumers(ctx, stream)
	if err != nil {
		return err
	}
	for _, i := range all {
		if err := h.boundDoubt(ctx, stream, i); err != nil {
			return err
		}
		if !h.cfg.Alone && !h.cfg.Unsure {
			stuck, err := h.stuck(ctx, stream, i)
			if err != nil {
				return err
			}
			if !stuck {
				continue
			}
		}
		e.beganMu.Lock()
		e.beganTo[stream+" "+i.Name] = i.Delivered.Stream
		e.beganMu.Unlock()
		if i.NumAckPending == 0 && !h.cfg.Unsure {
			continue
		}
		if err := e.js.DeleteConsumer(ctx, stream, i.Name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("renew consumer %s: %w", i.Name, unavailable(err))
		}
		if err := e.createConsumer(ctx, stream, i.Name, i.Config.FilterSubject, i.Config.PauseUntil, i.Config.Metadata); err != nil {
			return err
		}
	}
	return nil
}

// metaDoubt notes at a queue's consumer up to where messages may have begun that
// it has not delivered: under another consumer, or before its notes were exact.
const metaDoubt = "faena_doubt"

// boundDoubt finds out up to where a queue's messages are in doubt. If the server
// was closed in order, with nothing under way, that is what had been delivered;
// else it is all that is there now, which is noted for the next time.
func (h *holder) boundDoubt(ctx context.Context, stream string, i *jetstream.ConsumerInfo) error {
	if i.Name != queueConsumer() || !hasPrefix(stream, streamQueue) {
		return nil
	}
	noted, _ := strconv.ParseUint(i.Config.Metadata[metaDoubt], 10, 64)
	opened := h.opened[stream]
	if h.cfg.Clean && i.NumAckPending == 0 {
		h.opened[stream] = min(opened, max(noted, i.Delivered.Stream))
		return nil
	}
	if noted >= opened {
		return nil
	}
	c := i.Config
	c.Metadata = map[string]string{metaDoubt: strconv.FormatUint(opened, 10)}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := h.e.js.UpdateConsumer(ctx, stream, c); err != nil {
		return fmt.Errorf("note what is in doubt at consumer %s: %w", i.Name, unavailable(err))
	}
	i.Config = c
	return nil
}

// consumers lists a stream's durable consumers. The listing is read to its end,
// because the library's leaks a goroutine otherwise.
func (e *Engine) consumers(ctx context.Context, stream string) ([]*jetstream.ConsumerInfo, error) {
	s, err := e.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var out []*jetstream.ConsumerInfo
	l := s.ListConsumers(ctx)
	for i := range l.Info() {
		if i.Config.Durable != "" {
			out = append(out, i)
		}
	}
	if err := l.Err(); err != nil {
		return nil, fmt.Errorf("list consumers of %s: %w", stream, unavailable(err))
	}
	return out, nil
}

// began is up to where a consumer had delivered when this process opened.
func (e *Engine) began(stream, consumer string) uint64 {
	e.beganMu.Lock()
	defer e.beganMu.Unlock()
	return e.beganTo[stream+" "+consumer]
}

// adoptAll takes over every long run: no node that had one is left.
func (h *holder) adoptAll(ctx context.Context) error {
	newest, err := h.e.getLast(ctx, streamHome, subjectHome+"*")
	if err != nil || newest == nil {
		return err
	}
	for from := uint64(1); from <= newest.seq; {
		ms, err := h.e.batchGet(ctx, streamHome, subjectHome+"*", from, 1)
		if err != nil {
			return err
		}
		if len(ms) == 0 {
			return nil
		}
		from = ms[0].seq + 1
		id, err := engine.ParseID(ms[0].subject[len(subjectHome):])
		if err != nil {
			continue
		}
		if err := h.adopt(ctx, id, &home{node: ms[0].header.Get(headerNode)}); err != nil {
			return err
		}
	}
	return nil
}
