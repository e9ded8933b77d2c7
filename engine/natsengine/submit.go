package natsengine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
)

const (
	// maxMessage is how large a message of many runs or records may grow.
	maxMessage = 256 << 10
	// maxInline is the largest value that stands in an envelope or record; larger
	// ones are stored apart.
	maxInline = 192 << 10
	// soon is a delay that a worker waits out under its lease: the server's timer
	// for scheduled messages is coarser.
	soon = time.Second
	// retryPause is between tries of a publish that was not answered.
	retryPause = 100 * time.Millisecond
)

// headerBatch marks a manifest: batch id, number of staged parts, number of runs.
const headerBatch = "Faena-Batch"

// Submit implements engine.Engine.
func (e *Engine) Submit(ctx context.Context, runs []engine.Run) error {
	if err := e.ready("submit"); err != nil {
		return err
	}
	if err := e.accepting(); err != nil {
		return err
	}
	if err := named(runs); err != nil {
		return err
	}
	large, err := e.prepare(ctx, runs)
	if err != nil {
		return err
	}
	if large == nil {
		err = e.submit.do(ctx, runs)
	} else {
		err = e.submitAlone(ctx, runs, large)
	}
	for errors.Is(err, errUnanswered) && ctx.Err() == nil && !e.died(err) {
		if err := sleep(ctx, retryPause); err != nil {
			return submitError(ctx, err)
		}
		for i := range runs {
			runs[i].Doubt = true
		}
		err = e.submitAlone(ctx, runs, large)
	}
	return submitError(ctx, err)
}

// named refuses names that no subject can hold, before anything is stored: a run
// without a task could not be parked, nor leave its queue.
func named(runs []engine.Run) error {
	for i := range runs {
		err := engine.CheckName("task", runs[i].Task)
		if err == nil {
			err = engine.CheckName("queue", runs[i].Queue)
		}
		if err != nil {
			return &engine.Error{Code: engine.CodeInvalid, Op: "submit", Err: err}
		}
	}
	return nil
}

// submitError is what a caller is told. One whose context ended while the runs
// were published or committed knows no more of them than one without an answer.
func submitError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errUnanswered) || ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = &engine.Error{Code: engine.CodeUnavailable, Err: fmt.Errorf("%w: whether the runs are stored is open: look for them, by a tag or in the list of runs, before you submit them again", err)}
	}
	return &engine.Error{Code: engine.CodeOf(err), Op: "submit", Err: err}
}

func (e *Engine) accepting() error {
	if e.cfg.Accepting == nil {
		return nil
	}
	return e.cfg.Accepting()
}

// maxDelay bounds how far away a start may be: the server's schedules count
// nanoseconds in 64 bits.
const maxDelay = 100 * 365 * 24 * time.Hour

// prepare opens the runs' queues and stores large inputs apart.
func (e *Engine) prepare(ctx context.Context, runs []engine.Run) (*largeInputs, error) {
	var large *largeInputs
	for i := range runs {
		r := &runs[i]
		if err := e.prepareOne(ctx, r); err != nil {
			return nil, err
		}
		if len(r.Input.Data) > maxInline {
			if large == nil {
				large = &largeInputs{data: map[int][]byte{}}
			}
			large.data[i] = r.Input.Data
		}
	}
	if large == nil {
		return nil, nil //nolint:nilnil // none is the usual case
	}
	if err := e.store(ctx, runs, large); err != nil {
		return nil, &engine.Error{Code: engine.CodeOf(err), Op: "submit", Err: err}
	}
	return large, nil
}

func (e *Engine) prepareOne(ctx context.Context, r *engine.Run) error {
	if far := time.Now().Add(maxDelay); r.At > far.UnixMilli() {
		return &engine.Error{Code: engine.CodeInvalid, Op: "submit", Err: fmt.Errorf("it would start at %s: want a time before %s", time.UnixMilli(r.At).UTC().Format(time.DateOnly), far.UTC().Format(time.DateOnly))}
	}
	return e.queue(ctx, r.Queue)
}

// largeInputs are those of a submission that are stored apart, by run. They are
// kept until it is committed: if another server has taken the place of the one
// that has stored them, they may be gone.
type largeInputs struct {
	server string // that has them
	stored bool
	data   map[int][]byte
}

// gone tells whether a server may not have them.
func (l *largeInputs) gone(e *Engine, server string) bool {
	return l != nil && e.holder == nil && (server == "" || l.server != server)
}

// store stores large inputs, unless the server that is connected to has them.
func (e *Engine) store(ctx context.Context, runs []engine.Run, large *largeInputs) error {
	server := e.server()
	if large == nil || large.stored && !large.gone(e, server) {
		return nil
	}
	for i, data := range large.data {
		v, err := e.objects.put(ctx, e.objectName(runs[i].ID, "in"), data)
		if err != nil {
			return err
		}
		runs[i].Input = v
	}
	large.server, large.stored = server, true
	return nil
}

// submitAlone publishes runs that may be stored already, or have large inputs, and
// commits.
func (e *Engine) submitAlone(ctx context.Context, runs []engine.Run, large *largeInputs) error {
	if err := e.store(ctx, runs, large); err != nil {
		return fmt.Errorf("%w: %w", errUnanswered, err)
	}
	s := &submission{letters: e.submit.letters(), large: large}
	for i := range runs {
		if err := e.queue(ctx, runs[i].Queue); err != nil {
			return fmt.Errorf("%w: %w", errUnanswered, err)
		}
		s.add(&runs[i], 1)
	}
	if err := e.publish(ctx, s); err != nil {
		return err
	}
	return e.commitOn(ctx, s.server, 1)
}

// addDelayed publishes a run to be started at r.At.
func (e *Engine) addDelayed(ctx context.Context, g *group, r *engine.Run) error {
	subject, h := delayed(r)
	return g.add(ctx, engine.WriteDelayed, subject, h, engine.AppendRun(nil, r))
}

// SubmitBatch implements engine.Engine. What fits in one message is one message;
// more is staged where no worker looks, and one manifest makes it runs.
func (e *Engine) SubmitBatch(ctx context.Context, runs []engine.Run) error {
	if err := e.ready("submit"); err != nil {
		return err
	}
	if len(runs) == 0 {
		return nil
	}
	if err := e.accepting(); err != nil {
		return err
	}
	if err := named(runs); err != nil {
		return err
	}
	for i := range runs {
		if runs[i].Queue != runs[0].Queue {
			return &engine.Error{Code: engine.CodeInvalid, Op: "submit batch", Err: fmt.Errorf("queues %q and %q: the runs of a batch share one queue", runs[0].Queue, runs[i].Queue)}
		}
	}
	large, err := e.prepare(ctx, runs)
	if err != nil {
		return err
	}
	for doubt := false; ; doubt = true {
		err := e.queue(ctx, runs[0].Queue)
		if err == nil {
			err = e.store(ctx, runs, large)
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", errUnanswered, err)
		} else {
			err = e.submitBatch(ctx, runs, large, doubt)
		}
		if !errors.Is(err, errUnanswered) || ctx.Err() != nil || e.died(err) {
			return submitError(ctx, err)
		}
		if err := sleep(ctx, retryPause); err != nil {
			return submitError(ctx, err)
		}
	}
}

func (e *Engine) submitBatch(ctx context.Context, runs []engine.Run, large *largeInputs, doubt bool) error {
	var parts [][]byte
	var b []byte
	for i := range runs {
		runs[i].Doubt = runs[i].Doubt || doubt
		if len(b) > 0 && len(b)+len(runs[i].Input.Data)+512 > maxMessage {
			parts, b = append(parts, b), nil
		}
		b = engine.AppendRun(b, &runs[i])
	}
	parts = append(parts, b)
	queue := runs[0].Queue
	g := e.pub.group()
	server := g.server
	if large.gone(e, server) {
		return errMoved
	}
	if len(parts) == 1 {
		if err := g.add(ctx, engine.WriteEnvelope, queueSubject(queue), nil, parts[0]); err != nil {
			return err
		}
	} else {
		batch := e.ids.New().String()
		for _, p := range parts {
			if err := g.add(ctx, engine.WriteStage, subjectStage+batch, nil, p); err != nil {
				return err
			}
		}
		if err := g.wait(ctx); err != nil {
			return err
		}
		g = e.pub.group()
		h := nats.Header{headerBatch: {batch, strconv.Itoa(len(parts)), strconv.Itoa(len(runs))}}
		if err := g.add(ctx, engine.WriteManifest, queueSubject(queue), h, nil); err != nil {
			return err
		}
	}
	err := g.wait(ctx)
	e.wrote.note(posQueue(queue), g.high)
	if err != nil {
		return err
	}
	return e.commitOn(ctx, server, 1)
}

// manifest is what a manifest's header tells.
type manifest struct {
	batch       string
	parts, runs int
}

func parseManifest(h nats.Header) (m manifest, ok bool) {
	v := h[headerBatch]
	if len(v) != 3 {
		return m, false
	}
	var err1, err2 error
	m.batch = v[0]
	m.parts, err1 = strconv.Atoi(v[1])
	m.runs, err2 = strconv.Atoi(v[2])
	return m, err1 == nil && err2 == nil
}

// staged calls fn with each of a batch's parts, in order, and reads the next ones
// meanwhile. It is errIncomplete if some are missing: such a batch was never
// acknowledged, so it counts as absent, or it has been expanded. They may also go
// while they are read.
func (e *Engine) staged(ctx context.Context, m manifest, fn func(part []byte) error) error {
	if n, err := e.countStaged(ctx, m); err != nil || n != m.parts {
		return cmp.Or(err, errIncomplete)
	}
	ctx, cancel := context.WithCancel(ctx)
	parts, end := make(chan []byte, 1), make(chan error, 1)
	go func() {
		end <- e.readStaged(ctx, m, parts)
		close(parts)
	}()
	var err error
	for p := range parts {
		if err == nil {
			if err = fn(p); err != nil {
				cancel()
			}
		}
	}
	cancel()
	return cmp.Or(err, <-end)
}

func (e *Engine) readStaged(ctx context.Context, m manifest, parts chan<- []byte) error {
	from := uint64(1)
	for range m.parts {
		next, err := e.batchGet(ctx, streamStage, subjectStage+m.batch, from, 1)
		if err != nil {
			return err
		}
		if len(next) == 0 {
			return errIncomplete
		}
		from = next[0].seq + 1
		select {
		case parts <- next[0].data:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// countStaged is how many parts of a batch there are.
func (e *Engine) countStaged(ctx context.Context, m manifest) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := e.stream(ctx, streamStage)
	if err != nil {
		return 0, err
	}
	subject := subjectStage + m.batch
	i, err := s.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return 0, fmt.Errorf("look for the parts of a batch: %w", unavailable(err))
	}
	return int(i.State.Subjects[subject]), nil //nolint:gosec // few
}

var errIncomplete = errors.New("parts of the batch are missing")

// Watch implements engine.Engine.
func (e *Engine) Watch(id engine.ID, w engine.Waiter) { e.watches.add(id, w, false) }

// Unwatch implements engine.Engine.
func (e *Engine) Unwatch(id engine.ID, w engine.Waiter) { e.watches.remove(id, w) }

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
