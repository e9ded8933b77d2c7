package natsengine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/commit"
)

// Options of Connect. The zero value connects without credentials.
type Options struct {
	// Token is the server's secret, as faena serve wrote it to its data
	// directory; default none.
	Token string
	// Credentials is a NATS credentials file; default none.
	Credentials string
	// Name of this process, for people; default host and pid.
	Name string
	// Version of the program, for people; default none.
	Version string
	// Logger receives what nobody else is told; default discards.
	Logger *slog.Logger
	// Hook is called around each write, for tests; default none.
	Hook engine.WriteHook
	// Nats are further options of the connection; default none.
	Nats []nats.Option
}

// Connect opens an engine on the server at a NATS URL, or several separated by
// commas: one that package embedded runs, as faena serve does. The process that
// owns the server's disk tells the durability mode, keeps the index and starts
// delayed runs; without one, Connect gives an error with CodeUnavailable, as for an
// unreachable server. Once connected, a lost connection is made again for ever.
func Connect(ctx context.Context, url string, o Options) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	opts := []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.Timeout(2 * time.Second), nats.Name(processName(o.Name))}
	if o.Token != "" {
		opts = append(opts, nats.Token(o.Token))
	}
	if o.Credentials != "" {
		opts = append(opts, nats.UserCredentials(o.Credentials))
	}
	opts = append(opts, o.Nats...)
	dial := func(more ...nats.Option) (*nats.Conn, error) {
		nc, err := nats.Connect(url, append(slices.Clip(opts), more...)...)
		if err != nil {
			return nil, connectError(url, err)
		}
		return nc, nil
	}
	hello, err := greet(ctx, dial, o.Logger)
	if err != nil {
		return nil, err
	}
	space := &spaceNews{why: hello.Refuses, at: time.Now()}
	cfg := Config{Dial: dial, Name: processName(o.Name), Version: o.Version, Hook: o.Hook, Logger: o.Logger, Status: *hello.Status}
	var r *remoteCommit
	if cfg.Status.Durability == "strict" {
		r = newRemoteCommit()
		cfg.Commit = r
	}
	cfg.Accepting, cfg.Space = space.accepting, space.space
	cfg.started = func(e *Engine) error {
		if err := space.start(e); err != nil || r == nil {
			return err
		}
		return r.start(e)
	}
	return New(ctx, cfg)
}

func processName(name string) string {
	if name != "" {
		return name
	}
	host, _ := os.Hostname()
	return host + "-" + strconv.Itoa(os.Getpid())
}

func connectError(url string, err error) error {
	hint := "is faena serve running there, with --nats-listen?"
	if errors.Is(err, nats.ErrAuthorization) {
		hint = "pass the secret from the data directory of faena serve"
	}
	return &engine.Error{Code: engine.CodeUnavailable, Op: "connect to " + redact(url), Err: fmt.Errorf("%w: %s", err, hint)}
}

// redact takes user and password out of a URL.
func redact(url string) string {
	if i := strings.LastIndexByte(url, '@'); i >= 0 {
		scheme, _, ok := strings.Cut(url, "://")
		if ok {
			return scheme + "://" + url[i+1:]
		}
		return url[i+1:]
	}
	return url
}

// ServerName is the name of servers that package embedded runs.
const ServerName = "faena-embedded"

// greet asks the process that owns the disk for its status, and whether it accepts
// runs. An embedded server has one, which may not have got so far.
func greet(ctx context.Context, dial func(...nats.Option) (*nats.Conn, error), log *slog.Logger) (*answer, error) {
	nc, err := dial(onError(func(_ *nats.Conn, sub *nats.Subscription, err error) { logConnError(log, sub, err) }))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subjectHolder+opHello, []byte("{}"))
	for errors.Is(err, nats.ErrNoResponders) {
		if nc.ConnectedServerName() != ServerName {
			return nil, &engine.Error{Code: engine.CodeUnavailable, Op: "connect to " + nc.ConnectedUrlRedacted(), Err: errors.New(
				"no faena process owns this NATS server, and without one no delayed run would start: connect to the server of faena serve (--nats-listen), or of embedded.Open (Options.Listen)")}
		}
		if err = sleep(ctx, retryPause); err == nil {
			m, err = nc.RequestWithContext(ctx, subjectHolder+opHello, []byte("{}"))
		}
	}
	if err != nil {
		return nil, &engine.Error{Code: engine.CodeUnavailable, Op: "connect", Err: err}
	}
	var a answer
	if err := json.Unmarshal(m.Data, &a); err != nil || a.Status == nil {
		return nil, &engine.Error{Code: engine.CodeVersion, Op: "connect", Err: errors.New("the process there speaks another version of faena: run the same everywhere")}
	}
	return &a, nil
}

// spaceNews is what the disk's owner told last about accepting runs.
type spaceNews struct {
	mu   sync.Mutex
	why  string
	hold bool
	at   time.Time
}

// spaceOld is after how long news are not believed any more: the owner repeats
// them each second.
const spaceOld = 3 * time.Second

func (s *spaceNews) start(e *Engine) error {
	_, err := e.nc.Subscribe(subjectSpace, func(m *nats.Msg) {
		s.mu.Lock()
		s.why, s.hold, s.at = string(m.Data), m.Header.Get(headerHold) != "", time.Now()
		s.mu.Unlock()
	})
	if err != nil {
		return fmt.Errorf("subscribe to news of free space: %w", err)
	}
	return nil
}

func (s *spaceNews) accepting() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == "" || time.Since(s.at) > spaceOld {
		return nil
	}
	return &engine.Error{Code: engine.CodeFull, Op: "submit", Err: errors.New(s.why)}
}

// space is what a worker here has to know.
func (s *spaceNews) space() Space {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Space{Hold: s.hold && time.Since(s.at) <= spaceOld}
}

// headerHold says that no run is to be started.
const headerHold = "Faena-Hold"

// TellSpace tells other processes whether runs are accepted: err says why not;
// and whether to start none. Nothing is said as long as all is well.
func (e *Engine) TellSpace(err error, hold bool) {
	if e.nc == nil || e.closed.Load() || err == nil && !e.refused.Swap(false) {
		return
	}
	if err != nil {
		e.refused.Store(true)
	}
	m := nats.NewMsg(subjectSpace)
	m.Data = []byte(refusal(err))
	if hold {
		m.Header.Set(headerHold, "1")
	}
	_ = e.nc.PublishMsg(m) // said again while it holds
}

// refusal is what other processes are told of an error that accepting gives.
func refusal(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimPrefix(err.Error(), "submit: ")
}

// remoteCommit asks the owner of the disk to commit, once for all callers that
// wait. The owner also tells what it has committed, so that following the log
// needs no question as a rule.
type remoteCommit struct {
	e     *Engine
	group *commit.Group
	mark  atomic.Uint64
	mu    sync.Mutex
	news  chan struct{} // closed when mark rises
}

// markWait is how long to wait to be told before asking.
const markWait = 10 * time.Millisecond

func newRemoteCommit() *remoteCommit {
	r := &remoteCommit{news: make(chan struct{})}
	r.group = commit.New(r.sync, nil)
	return r
}

func (r *remoteCommit) start(e *Engine) error {
	r.e = e
	_, err := e.nc.Subscribe(subjectMark, func(m *nats.Msg) {
		if seq, err := strconv.ParseUint(string(m.Data), 10, 64); err == nil {
			r.raise(seq)
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to commits: %w", err)
	}
	return nil
}

func (r *remoteCommit) raise(seq uint64) {
	for old := r.mark.Load(); seq > old; old = r.mark.Load() {
		if r.mark.CompareAndSwap(old, seq) {
			r.mu.Lock()
			close(r.news)
			r.news = make(chan struct{})
			r.mu.Unlock()
			return
		}
	}
}

// sync asks until the owner has answered: an owner that is away comes back, or
// this process ends.
func (r *remoteCommit) sync() error {
	for {
		_, err := r.e.ask(r.e.ctx, opCommit, &request{})
		if err == nil {
			return nil
		}
		if r.e.ctx.Err() != nil {
			return context.Cause(r.e.ctx)
		}
		if sleep(r.e.ctx, retryPause) != nil {
			return context.Cause(r.e.ctx)
		}
	}
}

// Wait implements Committer.
func (r *remoteCommit) Wait(ctx context.Context, callers int) error {
	return r.group.Wait(ctx, callers)
}

// WaitMark implements Committer.
func (r *remoteCommit) WaitMark(ctx context.Context, seq uint64) error {
	return r.waitOn(ctx, r.e.server(), seq)
}

// waitOn is WaitMark for a message of a server's log. What the mark tells of the
// log of one that ran before counts: it was on disk. What it tells of a later one's
// does not, and is found out by looking again who is connected to.
func (r *remoteCommit) waitOn(ctx context.Context, server string, seq uint64) error {
	for {
		r.mu.Lock()
		news := r.news
		r.mu.Unlock()
		done := r.mark.Load() >= seq
		if err := r.e.still(server); err != nil || done {
			return err
		}
		t := time.NewTimer(markWait)
		select {
		case <-news:
			t.Stop()
			continue
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-t.C:
		}
		if _, err := r.e.ask(ctx, opCommit, &request{Mark: seq, Server: server}); err == nil {
			r.raise(seq)
		} else if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// TellMark tells other processes up to where the log is on disk.
func (e *Engine) TellMark(seq uint64) {
	if e.nc != nil && !e.closed.Load() {
		_ = e.nc.Publish(subjectMark, strconv.AppendUint(nil, seq, 10)) // they ask if they hear nothing
	}
}
