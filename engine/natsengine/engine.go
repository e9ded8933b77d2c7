// Package natsengine keeps runs in NATS JetStream. See docs/design/engine.md for
// its data model, the order of its writes and its crash points.
package natsengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
)

// Committer makes what is stored durable. Wait returns after a sync that began
// after the call, which may be for several callers; WaitMark once the log's
// message with that sequence is on disk.
type Committer interface {
	Wait(ctx context.Context, callers int) error
	WaitMark(ctx context.Context, seq uint64) error
}

// Config is what an engine is made of. It is for the packages that start
// servers; programs use Connect, or package embedded.
type Config struct {
	Dial      func(opts ...nats.Option) (*nats.Conn, error)
	Commit    Committer                   // nil in fast mode
	Sync      func(context.Context) error // syncs the disk in any mode, before what cannot be undone; may be nil
	Index     *IndexConfig
	Name      string // of this process, for people
	Version   string // of the program
	Status    engine.Status
	Hook      engine.WriteHook
	Logger    *slog.Logger
	Accepting func() error // nil, or why no new run is accepted now
	Space     func() Space // of the disk; nil for enough
	Fatal     func(error)  // told an error after which this engine cannot go on; default logs it

	started func(*Engine) error // once connected, before anything is followed
}

// Space tells how much of it is left on the disk.
type Space struct {
	Short bool // delete at once what is done with
	Hold  bool // start no run: its result might find none
}

func (e *Engine) space() Space {
	if e.cfg.Space == nil {
		return Space{}
	}
	return e.cfg.Space()
}

// Engine is an engine.Engine over one JetStream account.
type Engine struct {
	cfg    Config
	log    *slog.Logger
	nc     *nats.Conn // requests, core messages
	js     jetstream.JetStream
	pub    *publisher // submissions
	submit submitter
	paces  paces
	ids    *engine.IDs
	id     string // of this process
	since  time.Time
	ctx    context.Context //nolint:containedctx // ends when the engine closes
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	follow  *follower
	watches watches
	holder  *holder // nil without an index
	worker  atomic.Pointer[worker]
	objects objects
	link    link
	said    said

	beganMu  sync.Mutex
	beganTo  map[string]uint64 // by stream and consumer
	handles  sync.Map          // stream's name: jetstream.Stream
	queuesMu sync.Mutex
	queues   map[string]string // known to exist, on a server: another may have lost them
	wrote    wrote
	resets   atomic.Int64 // reconnections
	closed   atomic.Bool
	failed   atomic.Pointer[engine.Error] // why it cannot go on
	dead     atomic.Bool                  // a test's crash
	refused  atomic.Bool                  // others have been told that no run is accepted

	closing atomic.Bool
	gone    chan struct{} // closed when Close is done
}

// New opens an engine over cfg. It creates the streams that are missing.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ectx, cancel := context.WithCancelCause(context.Background())
	e := &Engine{
		cfg: cfg, log: cfg.Logger, ids: engine.NewIDs(), since: time.Now(),
		ctx: ectx, cancel: cancel, queues: map[string]string{}, beganTo: map[string]uint64{}, gone: make(chan struct{}),
	}
	e.cfg.Dial = func(opts ...nats.Option) (*nats.Conn, error) {
		return cfg.Dial(append(opts, onError(e.connError))...)
	}
	if h := cfg.Hook; h != nil {
		e.cfg.Hook = func(w engine.Write, after bool) error {
			err := h(w, after)
			e.died(err)
			return err
		}
	}
	e.id = e.ids.New().String()
	e.watches.init()
	e.submit.init(e)
	if err := e.open(ctx); err != nil {
		e.Close() //nolint:errcheck,gosec // the first error is what counts
		return nil, err
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) error {
	var err error
	if e.nc, err = e.cfg.Dial(nats.ReconnectHandler(e.reconnected), nats.DisconnectErrHandler(e.disconnected)); err != nil {
		return err
	}
	e.nc.SetClosedHandler(e.abandoned)
	if e.js, err = jetstream.New(e.nc); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	if err := e.checkServer(); err != nil {
		return err
	}
	e.objects.e = e
	if err := e.createStreams(ctx); err != nil {
		return err
	}
	if e.pub, err = newPublisher(e.nc, e.cfg.Hook); err != nil {
		return err
	}
	e.nc.SetDisconnectErrHandler(func(nc *nats.Conn, err error) { // only now: there is something to be told of it
		e.disconnected(nc, err)
		if !e.closed.Load() {
			e.pub.disconnected()
		}
	})
	if err := e.paces.start(e.nc); err != nil {
		return err
	}
	if e.cfg.started != nil {
		if err := e.cfg.started(e); err != nil {
			return err
		}
	}
	if e.cfg.Index != nil {
		if e.holder, err = openHolder(ctx, e, *e.cfg.Index); err != nil {
			return err
		}
	}
	if e.follow, err = startFollower(ctx, e); err != nil {
		return err
	}
	if e.holder != nil {
		if err := e.holder.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// oldest is the oldest server that has all that the data model needs.
const oldestMajor, oldestMinor = 2, 15

func (e *Engine) checkServer() error {
	v := e.nc.ConnectedServerVersion()
	var major, minor int
	if _, err := fmt.Sscanf(v, "%d.%d", &major, &minor); err != nil || major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return &engine.Error{
			Code: engine.CodeVersion, Op: "connect to " + e.nc.ConnectedUrlRedacted(),
			Err: fmt.Errorf("nats-server %q is too old: want %d.%d or newer", v, oldestMajor, oldestMinor),
		}
	}
	return nil
}

func (e *Engine) disconnected(_ *nats.Conn, err error) {
	if e.closed.Load() {
		return
	}
	e.log.Warn("disconnected from NATS", "error", err)
	e.link.lost()
}

// abandoned is told that the connection is not made again. The client library gives up
// only where a server that is there refuses its secret, twice.
func (e *Engine) abandoned(nc *nats.Conn) {
	if e.closed.Load() {
		return
	}
	err := nc.LastError()
	if err == nil {
		err = nats.ErrConnectionClosed
	}
	e.fatal(&engine.Error{Code: engine.CodeUnavailable, Op: "connect again", Err: fmt.Errorf("%w: the server has another secret now: give that one, from its data directory", err)})
}

func (e *Engine) reconnected(*nats.Conn) {
	if e.closed.Load() {
		return
	}
	e.log.Info("connected to NATS again")
	e.resets.Add(1)
}

// onError lets fn be told what goes wrong on a connection that nobody waits for,
// unless the connection's owner has chosen who is. Nobody would be standard error.
func onError(fn nats.ErrHandler) nats.Option {
	return func(o *nats.Options) error {
		if o.AsyncErrorCB == nil {
			o.AsyncErrorCB = fn
		}
		return nil
	}
}

// connError logs what goes wrong on a connection and nobody waits for.
func (e *Engine) connError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if e.closed.Load() || e.dead.Load() {
		return
	}
	if more, now := e.said.again("connection"); now {
		logConnError(e.log, sub, err, slog.Int("times_before", more))
	}
}

func logConnError(log *slog.Logger, sub *nats.Subscription, err error, more ...any) {
	if sub != nil {
		more = append(more, slog.String("subject", sub.Subject))
	}
	log.Warn("the connection to NATS met an error", append(more, slog.Any("error", err))...)
}

// fatal reports an error after which nothing can be promised any more, and ends
// all that goes on here.
func (e *Engine) fatal(err error) {
	if e.closed.Load() || e.dead.Load() {
		return
	}
	over := &engine.Error{Code: engine.CodeClosed, Err: fmt.Errorf("the engine cannot go on; close it and open it again: %w", err)}
	if !e.failed.CompareAndSwap(nil, over) {
		return
	}
	e.log.Error("the engine cannot go on", "error", err)
	if e.cfg.Fatal != nil {
		e.cfg.Fatal(err)
	}
	e.cancel(over)
}

// Fail says that this engine cannot go on: it is for the packages that start
// servers.
func (e *Engine) Fail(err error) { e.fatal(err) }

// Done implements engine.Engine.
func (e *Engine) Done() <-chan struct{} { return e.ctx.Done() }

// Err implements engine.Engine.
func (e *Engine) Err() error {
	if err := e.failed.Load(); err != nil {
		return err
	}
	if e.ctx.Err() != nil {
		return errClosed
	}
	return nil
}

// tellEvery is how often the same error is logged while it lasts: what meets it
// tries again several times a second.
const tellEvery = 10 * time.Second

// said keeps when errors were logged last.
type said struct {
	mu sync.Mutex
	m  map[string]lastSaid
}

type lastSaid struct {
	at   time.Time
	more int // times since
}

// logError logs an error that this process goes on after.
func (e *Engine) logError(who, what string, err error) {
	if e.ctx.Err() != nil || e.dead.Load() {
		return
	}
	if more, now := e.said.again(what); now {
		e.log.Error("trying again", "who", who, "while", what, "error", err, "times_before", more)
	}
}

// again tells whether something is to be logged now, and how many times it was not
// since the last time.
func (s *said) again(what string) (more int, now bool) {
	at := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]lastSaid{}
	}
	l := s.m[what]
	if !l.at.IsZero() && at.Sub(l.at) < tellEvery {
		l.more++
		s.m[what] = l
		return l.more, false
	}
	s.m[what] = lastSaid{at: at}
	return l.more, true
}

// crash stops everything at once, as if the process had been killed. It is what
// a write hook's ErrCrashed does.
func (e *Engine) crash() {
	if e.dead.Swap(true) {
		return
	}
	e.cancel(engine.ErrCrashed)
	go e.Close() //nolint:errcheck // only frees what a dead process would not hold
}

// died tells whether err means that this process is to act dead, and makes it so.
func (e *Engine) died(err error) bool {
	if errors.Is(err, engine.ErrCrashed) {
		e.crash()
	}
	return e.dead.Load()
}

// Close implements engine.Engine.
func (e *Engine) Close() error {
	if e.closing.Swap(true) { // no lock: a test's fake time would stand still
		<-e.gone
		return nil
	}
	defer close(e.gone)
	e.closed.Store(true)
	if w := e.worker.Load(); w != nil && w.started.Load() {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(errClosed)
		w.Stop(ctx) //nolint:errcheck,gosec // ends at once
	}
	e.cancel(errClosed)
	if e.follow != nil {
		e.follow.stop()
	}
	if e.holder != nil {
		e.holder.stop()
	}
	if e.nc != nil {
		e.nc.Close()
	}
	e.wg.Wait()
	return nil
}

var errClosed = &engine.Error{Code: engine.CodeClosed, Err: errors.New("the engine is closed")}

// ready tells why a call cannot be served, if so.
func (e *Engine) ready(op string) error {
	if err := e.failed.Load(); err != nil {
		return &engine.Error{Code: err.Code, Op: op, Err: err.Err}
	}
	if e.closed.Load() || e.dead.Load() {
		return &engine.Error{Code: engine.CodeClosed, Op: op, Err: errors.New("the engine is closed")}
	}
	return nil
}

// commit makes what was written before the call durable in strict mode.
func (e *Engine) commit(ctx context.Context) error { return e.commitOn(ctx, e.server(), 1) }

// commitOn is commit for several callers that wait for it, and for what a server
// has stored: if another has taken its place meanwhile, that may be gone.
func (e *Engine) commitOn(ctx context.Context, server string, callers int) error {
	return e.hooked(engine.WriteSync, func() error {
		if e.cfg.Commit == nil {
			return nil
		}
		if err := e.cfg.Commit.Wait(ctx, callers); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		return e.still(server)
	})
}

// commitLog is commit for what a server has stored up to a sequence of the log,
// which a sync under way may cover; 0 is for none.
func (e *Engine) commitLog(ctx context.Context, server string, seq uint64) error {
	if seq == 0 || e.cfg.Commit == nil || e.cfg.Hook != nil {
		return e.commitOn(ctx, server, 1)
	}
	if err := e.waitMark(ctx, server, seq); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// waitMark waits until a server's log is on disk up to a sequence.
func (e *Engine) waitMark(ctx context.Context, server string, seq uint64) error {
	if r, ok := e.cfg.Commit.(*remoteCommit); ok {
		return r.waitOn(ctx, server, seq)
	}
	return e.cfg.Commit.WaitMark(ctx, seq)
}

// server names the run of the server that this process is connected to; none is
// named like another. It is empty while the connection is being made again.
func (e *Engine) server() string { return e.nc.ConnectedServerId() }

// still tells that the server which was connected to is, so that no other can have
// answered meanwhile. The disk's owner need not ask: its disk has lost no power.
func (e *Engine) still(server string) error {
	if e.holder == nil && (server == "" || server != e.server()) {
		return errMoved
	}
	return nil
}

// hooked makes a write with the test's hook around it.
func (e *Engine) hooked(w engine.Write, write func() error) error {
	h := e.cfg.Hook
	if h == nil {
		return write()
	}
	if err := h(w, false); err != nil {
		return err
	}
	err := write()
	if herr := h(w, true); herr != nil {
		return herr
	}
	return err
}

// wrote remembers the highest sequence this process wrote per stream, so that
// its reads see its writes.
type wrote struct {
	mu sync.Mutex
	m  map[string]uint64
}

func (w *wrote) note(pos string, seq uint64) {
	if seq == 0 {
		return
	}
	w.mu.Lock()
	if w.m == nil {
		w.m = map[string]uint64{}
	}
	w.m[pos] = max(w.m[pos], seq)
	w.mu.Unlock()
}

func (w *wrote) forget() {
	w.mu.Lock()
	w.m = nil
	w.mu.Unlock()
}

func (w *wrote) all() map[string]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make(map[string]uint64, len(w.m))
	maps.Copy(out, w.m)
	return out
}

// Positions of the index: one per stream that it follows.
const (
	posLog     = "log"
	posDelayed = "delayed"
	posHome    = "home"
	posFailed  = "failed"
	posRetried = "retried"
)

func posQueue(queue string) string { return "q." + queue }
