// Package embedded runs a nats-server inside the process and opens an engine on
// it: durable work with nothing to install. It is the owner of the data
// directory's disk, and so the one that commits.
package embedded

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/natsengine"
	"github.com/faena-dev/faena/internal/commit"
)

// Durability modes.
const (
	Strict = "strict" // acknowledged means on disk
	Fast   = "fast"   // acknowledged survives the process; a power cut may take the last second
)

// Options of Open.
type Options struct {
	// Dir is the data directory; it is made if it is missing. Required.
	Dir string
	// Durability is Strict or Fast; default Strict. Strict is refused where a sync
	// means nothing, such as tmpfs and network file systems.
	Durability string
	// Force accepts Strict on any file system, reported as unverified; default
	// false.
	Force bool
	// Listen is where other processes reach the server by NATS, as host:port; port
	// 0 chooses one. Default: they do not.
	Listen string
	// MinFree is the free space in bytes below which no run is accepted; default
	// 64 MiB, or a tenth of a file system smaller than 640 MiB.
	MinFree int64
	// Name of this process, for people; default host and pid.
	Name string
	// Version of the program, for people; default none.
	Version string
	// Logger receives what nobody else is told; default discards.
	Logger *slog.Logger
	// Fatal is told an error after which the engine cannot go on, such as a failed
	// sync, or that its server could not be started again. From then on the engine
	// answers nothing: its calls, and waits for futures, give an error with
	// CodeClosed. The program should end, or close the engine and open it again.
	// Default: it is logged.
	Fatal func(error)
	// Hook is called around each write, for tests; default none.
	Hook engine.WriteHook
	// Boot names the boot of the machine, for tests; default what the system says.
	Boot string
	// Sync replaces the sync of the disk, for tests; default that of the system.
	Sync func() error
}

// Engine is an engine on a server of its own.
type Engine struct {
	*natsengine.Engine
	o       Options
	log     *slog.Logger
	dir     *directory
	srv     atomic.Pointer[server.Server]
	secret  string
	url     string
	low     atomic.Bool                       // too little space
	hold    atomic.Bool                       // start no run
	opened  atomic.Pointer[natsengine.Engine] // for what goes on beside its opening
	full    atomic.Bool                       // a write has failed for want of space, or may have
	anew    atomic.Bool                       // the server has been started again
	failed  int                               // starts that failed, one after the other
	tell    chan struct{}                     // others are to be told of space
	stop    chan struct{}
	wg      sync.WaitGroup
	closeMu sync.Mutex
	closed  bool
}

// Open starts the server and the engine. The directory belongs to one process at
// a time; one that another process has open, or that a newer version wrote, is
// refused with the remedy in the error. It returns when the index has caught up.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Durability == "" {
		o.Durability = Strict
	}
	if o.Durability != Strict && o.Durability != Fast {
		return nil, invalid("durability %q: want strict or fast", o.Durability)
	}
	if o.Dir == "" {
		return nil, invalid("no data directory given")
	}
	e := &Engine{o: o, log: o.Logger, tell: make(chan struct{}, 1), stop: make(chan struct{})}
	if err := e.open(ctx); err != nil {
		err = e.advise(err) // before the directory is closed
		e.Close()           //nolint:errcheck,gosec // the first error counts
		return nil, err
	}
	return e, nil
}

func invalid(format string, args ...any) error {
	return &engine.Error{Code: engine.CodeInvalid, Op: "open engine", Err: fmt.Errorf(format, args...)}
}

func (e *Engine) open(ctx context.Context) error {
	if in := unmade(e.o.Dir); in != "" { // a refusal makes nothing
		if _, err := e.durability(in); err != nil {
			return err
		}
	}
	var err error
	if e.dir, err = openDirectory(e.o.Dir, e.o.Boot); err != nil {
		return err
	}
	status, err := e.durability(e.o.Dir)
	if err != nil {
		return err
	}
	if e.secret, err = e.dir.secret(); err != nil {
		return err
	}
	if err := e.setMinFree(); err != nil {
		return err
	}
	if err := e.dir.dropDeliveries(); err != nil {
		return err
	}
	if err := e.startServer(); err != nil {
		return err
	}
	if err := e.mendDeliveries(); err != nil {
		return err
	}
	cfg := natsengine.Config{
		Dial: e.dial, Name: e.o.Name, Version: e.o.Version, Status: status, Hook: e.o.Hook, Logger: e.o.Logger,
		Fatal: e.o.Fatal, Accepting: e.accepting, Space: e.space,
		Index: &natsengine.IndexConfig{Path: e.dir.path("index.db"), Alone: e.o.Listen == "", Boot: e.dir.boot, Unsure: e.dir.unsure, Clean: e.dir.clean},
	}
	flush := e.o.Sync
	if flush == nil {
		if flush, err = e.dir.syncer(); err != nil && e.o.Durability == Strict {
			return err
		}
	}
	if flush != nil {
		group := commit.New(func() error { return e.failing(flush()) }, func(mark uint64) {
			if n := e.opened.Load(); n != nil && e.o.Listen != "" {
				n.TellMark(mark)
			}
		})
		cfg.Sync = func(ctx context.Context) error {
			if err := e.writable(); err != nil {
				return err
			}
			return group.Wait(ctx, 1)
		}
		if e.o.Durability == Strict {
			cfg.Commit = group
		}
	}
	if e.Engine, err = natsengine.New(ctx, cfg); err != nil {
		return err
	}
	e.opened.Store(e.Engine)
	if e.o.Listen != "" {
		if err := e.dir.publishAddress(e.url, e.secret); err != nil {
			return err
		}
	}
	e.wg.Go(e.watchSpace)
	e.wg.Go(e.tellSpace)
	return nil
}

// durability says what is promised on the file system of a directory, or refuses.
func (e *Engine) durability(dir string) (engine.Status, error) {
	s := engine.Status{Engine: "embedded", Durability: e.o.Durability, Verified: true, Dir: e.o.Dir}
	if e.o.Durability == Fast {
		s.Detail = "a power cut may take what was acknowledged in the last second"
		return s, nil
	}
	s.Detail = "what is acknowledged is on disk"
	kind, ok, err := fileSystem(dir)
	if err != nil {
		return s, err
	}
	if ok || e.o.Sync != nil {
		return s, nil
	}
	if !e.o.Force {
		return s, &engine.Error{Code: engine.CodeUnavailable, Op: "open engine", Err: &NotDurableError{Dir: e.o.Dir, FileSystem: kind}}
	}
	s.Verified = false
	s.Detail = "unverified: a sync on " + kind + " may mean nothing"
	return s, nil
}

// NotDurableError says that strict durability cannot be kept in a directory.
type NotDurableError struct{ Dir, FileSystem string }

func (e *NotDurableError) Error() string {
	return fmt.Sprintf("%s is on %s, where a sync does not make data safe: choose a directory on a local disk, or durability fast", e.Dir, e.FileSystem)
}

// failing ends the engine if a sync has failed: nobody knows then what is on disk.
func (e *Engine) failing(err error) error {
	if n := e.opened.Load(); err != nil && n != nil {
		n.Fail(fmt.Errorf("sync the disk: %w", err))
	}
	return err
}

// dial connects to whichever server runs now.
func (e *Engine) dial(opts ...nats.Option) (*nats.Conn, error) {
	all := []nats.Option{
		nats.InProcessServer(inProcess{e}), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.Token(e.secret), nats.Name("embedded"), nats.FlusherTimeout(flushTime),
	}
	nc, err := nats.Connect("", append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded server: %w", err)
	}
	return nc, nil
}

// flushTime is what a write may take to a server that met a full disk and reads no
// more: until then the connection's other callers wait for it, and so does Close.
const flushTime = 10 * time.Second

// inProcess gives connections to the server that runs now.
type inProcess struct{ e *Engine }

// InProcessConn implements nats.InProcessConnProvider.
func (p inProcess) InProcessConn() (net.Conn, error) {
	s := p.e.srv.Load()
	if s == nil {
		return nil, errors.New("the embedded server is down")
	}
	return s.InProcessConn()
}

// syncEvery leaves a sync the other half of the second that fast mode may lose.
const syncEvery = time.Second / 2

// maxStore is no limit: free space is watched instead.
const maxStore = 1 << 50

func (e *Engine) startServer() error {
	o := &server.Options{
		ServerName: natsengine.ServerName, DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: e.dir.path("store"),
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: maxStore, MaxPayload: 4 << 20, MaxPending: 256 << 20, Authorization: e.secret,
	}
	if e.o.Durability == Fast {
		o.SyncInterval = syncEvery
	}
	if e.o.Listen != "" {
		host, port, err := net.SplitHostPort(e.o.Listen)
		if err != nil {
			return invalid("NATS address %q: want host:port", e.o.Listen)
		}
		if o.Port, err = strconv.Atoi(port); err != nil || o.Port < 0 || o.Port > 65535 {
			return invalid("NATS address %q: want a port from 0 to 65535", e.o.Listen)
		}
		if o.Port == 0 {
			o.Port = server.RANDOM_PORT
		}
		o.Host, o.DontListen = host, false
		if e.url != "" { // again, after a restart: where it was
			a, _, _ := net.SplitHostPort(e.o.Listen)
			_, p, _ := net.SplitHostPort(e.url[len("nats://"):])
			o.Host = a
			o.Port, _ = strconv.Atoi(p)
		}
		if err := probe(o.Host, o.Port); err != nil {
			return err
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("start the embedded server: %w", err)
	}
	s.SetLoggerV2(serverLog{e.log, e}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		s.Shutdown()
		return &engine.Error{Code: engine.CodeUnavailable, Op: "start the embedded server", Err: errors.New("it is not ready after 30 s: see the log")}
	}
	if e.o.Listen != "" {
		e.url = "nats://" + s.Addr().String()
	}
	e.srv.Store(s)
	return nil
}

// probe finds out whether an address can be had: the server itself ends the
// process if not.
func probe(host string, port int) error {
	if port <= 0 {
		return nil
	}
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return &engine.Error{Code: engine.CodeConflict, Op: "listen for NATS on " + addr, Err: fmt.Errorf("%w: choose another address", err)}
	}
	return l.Close()
}

// URL is where other processes reach the server, empty if they do not, and
// Secret what they have to show.
func (e *Engine) URL() string { return e.url }

// Secret is the token that other processes connect with.
func (e *Engine) Secret() string { return e.secret }

// Close stops engine and server. It may be called twice.
func (e *Engine) Close() error {
	e.closeMu.Lock()
	defer e.closeMu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	close(e.stop)
	e.wg.Wait()
	if e.Engine != nil {
		e.Engine.Close() //nolint:errcheck,gosec // gives none
	}
	ended := stopServer(e.srv.Swap(nil), stopTime)
	if e.dir != nil {
		return errors.Join(ended, e.dir.close(e.Engine != nil && ended == nil && !e.anew.Load()))
	}
	return ended
}

// ErrHung says that the embedded server met a full disk and does not end: within
// this process its data directory cannot be opened again. Nothing that was
// accepted is lost. It is what the engine failed with, see [Options.Fatal].
var ErrHung = errors.New("the embedded server hangs: end this process and start it again; nothing that was accepted is lost")

// What a server gets to end. One that met a full disk may wait for itself for
// ever: nats-server 2.15 purges with its store's lock held, and takes it again
// when a write fails meanwhile.
const (
	stopTime = 20 * time.Second
	hangTime = 10 * time.Second // when a full disk made it necessary
)

func stopServer(s *server.Server, within time.Duration) error {
	if s == nil {
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Shutdown()
		s.WaitForShutdown()
	}()
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
		return &engine.Error{Code: engine.CodeInternal, Op: "stop the embedded server", Err: fmt.Errorf("%w (waited %v)", ErrHung, within)}
	}
}

// serverLog passes the server's warnings and errors on, and notices writes that
// failed for want of space.
type serverLog struct {
	l *slog.Logger
	e *Engine
}

func (s serverLog) Noticef(string, ...any)   {}
func (s serverLog) Debugf(string, ...any)    {}
func (s serverLog) Tracef(string, ...any)    {}
func (s serverLog) Warnf(f string, a ...any) { s.l.Warn("nats-server", "says", fmt.Sprintf(f, a...)) }

func (s serverLog) Errorf(f string, a ...any) {
	says := fmt.Sprintf(f, a...)
	if strings.Contains(says, noSpace) && s.e.srv.Load() != nil {
		s.e.full.Store(true)
	}
	s.l.Error("nats-server", "says", says)
}

func (s serverLog) Fatalf(f string, a ...any) { s.l.Error("nats-server", "says", fmt.Sprintf(f, a...)) }

// Address is what a process needs to reach a data directory's owner.
type Address struct {
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// Find reads the address that the owner of a data directory left there. None, as
// when no owner listens, is an error with CodeUnavailable.
func Find(dir string) (Address, error) {
	var a Address
	b, err := os.ReadFile(filepath.Join(dir, addressFile)) //nolint:gosec // the caller's directory
	if err == nil && !owned(dir) {                         // left behind by one that was killed
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrPermission) {
		return a, &engine.Error{Code: engine.CodeUnavailable, Op: "find the local server", Err: fmt.Errorf("whether a faena serve runs on %s cannot be told: %w: be the user that it runs as, or say where it is by --server", dir, err)}
	}
	if err != nil {
		return a, &engine.Error{Code: engine.CodeUnavailable, Op: "find the local server", Err: fmt.Errorf("no faena serve runs on %s: start one, or say where by --server", dir)}
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, &engine.Error{Code: engine.CodeInternal, Op: "find the local server", Err: fmt.Errorf("read %s: %w", addressFile, err)}
	}
	return a, nil
}

func newSecret() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
