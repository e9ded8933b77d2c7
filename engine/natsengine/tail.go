package natsengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
)

// tail reads a subject of a stream in order from a sequence on, for ever. The
// client library notices gaps; it would notice a server that has started anew
// only when heartbeats are missing for long, so a connection that was made again
// is subscribed on again. A server that has started anew may have lost power, and
// what was read last with it: then the tail goes back to where it agrees with the
// stream.
type tail struct {
	e       *Engine
	nc      *nats.Conn
	js      nats.JetStreamContext
	stream  string
	subject string
	take    func(m *nats.Msg, seq uint64, nanos int64)
	moved   func(server string, seq uint64, same bool) // told where it goes on, and whether all before is as it was; may be nil
	back    func()                                     // told that it goes on after the connection was lost; may be nil

	order  sync.Mutex // of calls of take; of what follows
	last   spot       // taken last
	spots  []spot     // taken before, a second and more apart
	kept   time.Time  // when the last of them was
	server string     // that the stream is known to be on
	turn   int        // of the subscription that counts

	mu      sync.Mutex // of what follows
	sub     *nats.Subscription
	stopped bool
}

// spot is a message in a stream. That a server stores another one there at the
// same nanosecond is ruled out.
type spot struct {
	seq   uint64
	nanos int64
}

// What a tail keeps to find where it agrees with a stream: of a log that was
// synced late, more may be lost.
const (
	spotsMost  = 32
	spotsEvery = time.Second
)

// tail starts one; take is called with one message after the other.
func (e *Engine) tail(stream, subject string, from uint64, take func(m *nats.Msg, seq uint64, nanos int64)) (*tail, error) {
	t := &tail{e: e, stream: stream, subject: subject, take: take, last: spot{seq: max(from, 1) - 1}}
	if err := t.start(); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *tail) start() error {
	nc, err := t.e.cfg.Dial(nats.ReconnectHandler(func(*nats.Conn) { go t.again() }))
	if err != nil {
		return err
	}
	t.nc = nc
	if t.js, err = nc.JetStream(nats.MaxWait(requestTimeout)); err != nil {
		nc.Close()
		return fmt.Errorf("open JetStream: %w", err)
	}
	if err := t.subscribe(); err != nil {
		nc.Close()
		return err
	}
	return nil
}

var errNotConnected = &engine.Error{Code: engine.CodeUnavailable, Err: errors.New("the connection is being made again")}

// subscribe replaces the subscription by one that begins after what was taken.
func (t *tail) subscribe() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return nil
	}
	if t.sub != nil {
		_ = t.sub.Unsubscribe() // what it still delivers comes again
		t.sub = nil
	}
	server := t.nc.ConnectedServerId()
	if server == "" {
		return fmt.Errorf("follow %s: %w", t.subject, errNotConnected)
	}
	t.order.Lock()
	t.turn++ // from here on nothing is taken
	turn, known := t.turn, t.server
	t.order.Unlock()
	if server != known {
		if err := t.move(server, known == "" && t.last.nanos == 0); err != nil {
			return err
		}
	}
	take := func(m *nats.Msg) { t.handle(m, turn) }
	sub, err := t.js.Subscribe(t.subject, take, nats.OrderedConsumer(), nats.StartSequence(t.last.seq+1))
	if err != nil {
		return fmt.Errorf("follow %s: %w", t.subject, unavailable(err))
	}
	t.sub = sub
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return fmt.Errorf("follow %s: %w", t.subject, err)
	}
	return nil
}

// move goes to another server, and back to where its stream is as it was read. Fresh
// tells that nothing has been read, nor has the stream's end been looked at.
func (t *tail) move(server string, fresh bool) error {
	at := t.last
	if !fresh {
		var lost bool
		var err error
		if at, lost, err = t.agreed(); err != nil {
			return fmt.Errorf("follow %s: %w", t.subject, unavailable(err))
		}
		if lost && t.e.holder != nil { // whose index has what is there no more
			t.e.fatal(fmt.Errorf("follow %s: the server has lost what was read at %d", t.subject, t.last.seq))
			return errClosed
		}
		if lost {
			t.e.log.Warn("the server has lost what it stored last, as in a power cut", "subject", t.subject, "read", t.last.seq, "again_after", at.seq)
		}
	}
	same := at.seq == t.last.seq
	t.order.Lock()
	defer t.order.Unlock()
	t.last, t.server = at, server
	for n := len(t.spots); n > 0 && t.spots[n-1].seq > at.seq; n-- {
		t.spots = t.spots[:n-1]
	}
	if t.moved != nil {
		t.moved(server, at.seq, same)
	}
	return nil
}

// agreed is the newest message taken that the stream still holds, and whether it
// lacks later ones although they have not been deleted. One that is deleted tells
// nothing: another may have been in its place. Who holds the index takes it for
// the one that was read, as when the index is opened.
func (t *tail) agreed() (at spot, lost bool, err error) {
	ctx, cancel := context.WithTimeout(t.e.ctx, requestTimeout)
	defer cancel()
	s, err := t.js.StreamInfo(t.stream, nats.Context(ctx))
	if err != nil {
		return at, false, err
	}
	for _, p := range slices.Backward(append(slices.Clone(t.spots), t.last)) {
		switch {
		case p.seq > s.State.LastSeq:
			lost = true
			continue
		case p.seq == 0, t.e.holder != nil && p.nanos == 0, p.seq == s.State.LastSeq && p.nanos == s.State.LastTime.UnixNano():
			return p, lost, nil
		}
		m, err := t.js.GetMsg(t.stream, p.seq, nats.Context(ctx))
		gone := errors.Is(err, nats.ErrMsgNotFound)
		switch {
		case err != nil && !gone:
			return at, false, err
		case gone && t.e.holder != nil, !gone && m.Time.UnixNano() == p.nanos:
			return p, lost, nil
		}
		lost = lost || !gone
	}
	return at, lost, nil
}

// again subscribes until it works.
func (t *tail) again() {
	for {
		err := t.subscribe()
		if err == nil && t.back != nil {
			t.back()
		}
		if err == nil || t.e.closed.Load() || t.e.dead.Load() {
			return
		}
		if !errors.Is(err, errNotConnected) {
			if more, now := t.e.said.again("subscribe " + t.subject); now {
				t.e.log.Warn("subscribe again", "error", err, "times_before", more)
			}
		}
		if sleep(t.e.ctx, retryPause) != nil {
			return
		}
	}
}

// handle takes a message, unless it is of a subscription that has been replaced,
// or is to be because the connection is to another server by now.
func (t *tail) handle(m *nats.Msg, turn int) {
	if t.e.closed.Load() || t.e.dead.Load() {
		return
	}
	r, ok := parseReply(m.Reply)
	if !ok {
		return
	}
	t.order.Lock()
	defer t.order.Unlock()
	if turn != t.turn || r.seq <= t.last.seq || t.nc.ConnectedServerId() != t.server {
		return
	}
	t.take(m, r.seq, r.nanos)
	t.last = spot{r.seq, r.nanos}
	if now := time.Now(); now.Sub(t.kept) >= spotsEvery {
		t.kept = now
		if len(t.spots) == spotsMost {
			t.spots = slices.Delete(t.spots, 0, 1)
		}
		t.spots = append(t.spots, t.last)
	}
}

func (t *tail) stop() {
	t.mu.Lock()
	t.stopped = true
	if t.sub != nil && t.nc.IsConnected() { // else there is nobody to answer
		_ = t.sub.Unsubscribe() // the connection closes with it
	}
	t.mu.Unlock()
	t.nc.Close()
}

// reply is what a delivered message's reply subject tells.
type reply struct {
	delivered uint64
	seq       uint64 // in the stream
	nanos     int64  // when it was stored
}

// parseReply reads $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer
// seq>.<time>.<pending>, with a domain and account hash before the stream's name
// in the longer form.
func parseReply(s string) (r reply, ok bool) {
	if !strings.HasPrefix(s, "$JS.ACK.") {
		return r, false
	}
	var f [5]uint64 // from the end: pending, time, consumer seq, stream seq, delivered
	end := len(s)
	if n := strings.Count(s, "."); n > 8 { // the longer form ends with a random token, and may with others
		t := strings.SplitN(s, ".", 12)
		if len(t) < 11 {
			return r, false
		}
		end = len(strings.Join(t[:11], "."))
	}
	for i := range f {
		dot := strings.LastIndexByte(s[:end], '.')
		if dot < 0 {
			return r, false
		}
		v, err := strconv.ParseUint(s[dot+1:end], 10, 64)
		if err != nil {
			return r, false
		}
		f[i], end = v, dot
	}
	return reply{delivered: f[4], seq: f[3], nanos: int64(f[1])}, true //nolint:gosec // a time
}

// last is the sequence of a stream's newest message.
func (e *Engine) last(ctx context.Context, stream string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := e.js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("ask for the end of %s: %w", stream, unavailable(err))
	}
	return s.CachedInfo().State.LastSeq, nil
}

// fetched is a message read by sequence or subject.
type fetched struct {
	subject string
	header  nats.Header
	data    []byte
	seq     uint64
	time    time.Time
}

// get reads one message, nil if it is not there.
func (e *Engine) get(ctx context.Context, stream string, seq uint64) (*fetched, error) {
	return e.fetch(ctx, stream, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, seq)
	})
}

// getLast reads the newest message of a subject, nil if there is none.
func (e *Engine) getLast(ctx context.Context, stream, subject string) (*fetched, error) {
	return e.fetch(ctx, stream, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetLastMsgForSubject(ctx, subject)
	})
}

func (e *Engine) fetch(ctx context.Context, stream string, get func(context.Context, jetstream.Stream) (*jetstream.RawStreamMsg, error)) (*fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := e.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	m, err := get(ctx, s)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, fmt.Errorf("read from %s: %w", stream, unavailable(err))
	}
	return &fetched{m.Subject, m.Header, m.Data, m.Sequence, m.Time}, nil
}

// stream is a handle on a stream; getting one costs a request, so they are kept.
func (e *Engine) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	if s, ok := e.handles.Load(name); ok {
		return s.(jetstream.Stream), nil
	}
	s, err := e.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, unavailable(err))
	}
	e.handles.Store(name, s)
	return s, nil
}

// purge deletes a subject's messages, or those before a sequence; with neither a
// subject nor a sequence it does nothing.
func (e *Engine) purge(ctx context.Context, stream, subject string, before uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var opts []jetstream.StreamPurgeOpt
	if subject != "" {
		opts = append(opts, jetstream.WithPurgeSubject(subject))
	}
	if before > 0 {
		opts = append(opts, jetstream.WithPurgeSequence(before))
	}
	if len(opts) == 0 {
		return nil
	}
	s, err := e.stream(ctx, stream)
	if err != nil {
		return err
	}
	if err := s.Purge(ctx, opts...); err != nil {
		return fmt.Errorf("purge %s: %w", stream, unavailable(err))
	}
	return nil
}

// forget deletes a subject's messages once what makes them needless is on disk,
// in fast mode too: else a power cut could take that and leave the deletion.
func (e *Engine) forget(ctx context.Context, stream, subject string) error {
	if err := e.settle(ctx); err != nil {
		return err
	}
	return e.discard(ctx, stream, subject)
}

// discard is forget without the wait. It is a write that tests can fail.
func (e *Engine) discard(ctx context.Context, stream, subject string) error {
	return e.hooked(engine.WriteForget, func() error { return e.purge(ctx, stream, subject, 0) })
}

// drop deletes one message, if it is there.
func (e *Engine) drop(ctx context.Context, stream string, seq uint64) error {
	if m, err := e.get(ctx, stream, seq); err != nil || m == nil {
		return err
	}
	s, err := e.stream(ctx, stream)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return e.hooked(engine.WriteForget, func() error {
		if err := s.DeleteMsg(ctx, seq); err != nil {
			return fmt.Errorf("delete message %d of %s: %w", seq, stream, unavailable(err))
		}
		return nil
	})
}

// settle waits in fast mode until what was written before is on disk, as far as
// anybody sees to that; in strict mode a commit has done it.
func (e *Engine) settle(ctx context.Context) error {
	switch {
	case e.cfg.Commit != nil:
		return nil
	case e.cfg.Sync != nil:
		return e.cfg.Sync(ctx)
	case e.holder != nil:
		return nil
	}
	_, err := e.ask(ctx, opSettle, &request{})
	return err
}

// batchGet reads up to n messages of a subject from a sequence on.
func (e *Engine) batchGet(ctx context.Context, stream, subject string, from uint64, n int) ([]*fetched, error) {
	var out []*fetched
	for len(out) < n {
		m, err := e.fetch(ctx, stream, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
			return s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
		})
		if err != nil {
			return nil, err
		}
		if m == nil {
			break
		}
		out, from = append(out, m), m.seq+1
	}
	return out, nil
}
