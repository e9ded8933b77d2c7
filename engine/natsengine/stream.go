package natsengine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
)

// Times of a lease. A worker killed with no warning is noticed when AckWait has
// passed; one that pauses for 3 s right after a renewal keeps its runs.
const (
	ackWait    = 4400 * time.Millisecond
	renewEvery = 900 * time.Millisecond
)

// maxPending bounds the messages of a queue that are under way everywhere: above
// about a thousand the server's expiry check falls behind acknowledgements, so
// this leaves room for a burst of results on their way to disk and no more.
const maxPending = 4096

// duplicates is the window of the server's own duplicate check, unused here and
// as short as it can be, because each message in it costs memory.
const duplicates = 100 * time.Millisecond

const requestTimeout = 10 * time.Second

func streams() []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		{Name: streamLog, Subjects: []string{prefix + ".log.*"}, AllowDirect: true},
		{Name: streamDelayed, Subjects: []string{prefix + ".d.>"}, AllowDirect: true, AllowMsgSchedules: true, AllowRollup: true},
		{Name: streamStage, Subjects: []string{subjectStage + "*"}, AllowDirect: true},
		{Name: streamFailed, Subjects: []string{subjectFailed}, AllowDirect: true, AllowMsgTTL: true},
		{Name: streamRetried, Subjects: []string{subjectRetried}, AllowDirect: true, AllowMsgTTL: true},
		{Name: streamCancelled, Subjects: []string{subjectCancelled + "*"}, AllowDirect: true, MaxMsgsPerSubject: 1},
		{Name: streamHome, Subjects: []string{subjectHome + "*"}, AllowDirect: true, MaxMsgsPerSubject: 1},
		{Name: streamSaved, Subjects: []string{subjectSaved + "*"}, AllowDirect: true, MaxMsgsPerSubject: 1},
	}
}

// createStreams makes the streams that are missing; those that exist are left as
// they are, so that an operator's replicas and placement stay.
func (e *Engine) createStreams(ctx context.Context) error {
	for _, c := range streams() {
		c.Duplicates = duplicates
		if err := e.createStream(ctx, c); err != nil {
			return err
		}
	}
	return e.objects.create(ctx, e.js)
}

func (e *Engine) createStream(ctx context.Context, c jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := e.js.CreateStream(ctx, c)
	if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil
	}
	return fmt.Errorf("create stream %s: %w", c.Name, unavailable(err))
}

// queue makes sure that a queue's stream and consumer exist and that the index
// follows it.
func (e *Engine) queue(ctx context.Context, name string) error {
	e.queuesMu.Lock()
	defer e.queuesMu.Unlock()
	server := e.server()
	if on, ok := e.queues[name]; ok && (server == on || server == "") {
		return nil
	}
	if name == "" || len(name) > 64 {
		return &engine.Error{Code: engine.CodeInvalid, Op: "open queue", Err: fmt.Errorf("queue name %q: want 1 to 64 bytes", name)}
	}
	if err := e.createStream(ctx, jetstream.StreamConfig{
		Name: queueStream(name), Subjects: []string{prefix + ".q." + token(name) + ".*"}, AllowDirect: true, Duplicates: duplicates,
	}); err != nil {
		return err
	}
	if err := e.createConsumer(ctx, queueStream(name), queueConsumer(), queueSubject(name), nil, nil); err != nil {
		return err
	}
	if e.holder != nil {
		if err := e.holder.followQueue(ctx, name); err != nil {
			return err
		}
	} else {
		e.tellHolder("queue", []byte(name))
	}
	e.queues[name] = server
	return nil
}

func (e *Engine) createConsumer(ctx context.Context, stream, name, filter string, pause *time.Time, meta map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := e.js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: name, FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxAckPending: maxPending, MaxWaiting: 4096, PauseUntil: pause, Metadata: meta,
	})
	if err == nil || errors.Is(err, jetstream.ErrConsumerExists) {
		return nil
	}
	return fmt.Errorf("create consumer %s of %s: %w", name, stream, unavailable(err))
}

// unavailable gives errors of a server that does not answer their code.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*engine.Error](err); ok {
		return err
	}
	return &engine.Error{Code: engine.CodeUnavailable, Err: err}
}
