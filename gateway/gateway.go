// Package gateway is faena over HTTP: the API under /api/v1, what probes and
// monitoring ask (/status, /livez, /readyz, /metrics), and the pages of package
// web. It decides who is answered: only hosts it is known by, no page of another
// site, and nobody beyond this machine unless it is told so.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/web"
)

// Options configure a [Gateway]; the zero value is for loopback.
type Options struct {
	Version      string       // of the program, for people; default devel
	Addr         string       // host:port it is served at; default loopback
	Insecure     bool         // admits an Addr beyond loopback, without any login; default false
	AllowedHosts []string     // names it answers to, besides Addr and loopback; default none
	MaxBody      int64        // bytes of a request body; default 64 MiB and a little
	Logger       *slog.Logger // default slog.Default()
}

// envelope is the room for what a request says around an input.
const envelope = 64 << 10

// Gateway serves one node over HTTP. Its methods may be called concurrently.
type Gateway struct {
	node     *faena.Node
	opts     Options
	log      *slog.Logger
	hosts    hosts
	origins  *http.CrossOriginProtection
	routes   []Route
	mux      *http.ServeMux
	pages    *web.Pages
	sampler  *sampler
	registry *prometheus.Registry
	metrics  *metrics
	outputs  previews
	lately   lately[*Background]
	failures lately[[]faena.Info]
	started  time.Time
	requests atomic.Int64
	held     atomic.Int64 // bytes of large bodies being read
	leaving  atomic.Bool  // its node is being closed

	stop  context.CancelFunc
	done  <-chan struct{} // closed by stop
	tasks sync.WaitGroup
}

// New makes the handler for a node, which stays the caller's, and begins to
// count what finishes each second. An Addr that others than this machine can
// reach is refused with CodeInvalid, unless Insecure is set. Close it when its
// server has been shut down.
func New(node *faena.Node, o Options) (*Gateway, error) {
	if node == nil {
		return nil, &faena.Error{Code: faena.CodeInvalid, Op: "open gateway", Err: fmt.Errorf("the node is nil")}
	}
	if err := CheckAddr(o.Addr, o.Insecure); err != nil {
		return nil, err
	}
	if o.Version == "" {
		o.Version = "devel"
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 64<<20 + envelope
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	pages, err := web.New()
	if err != nil {
		return nil, fmt.Errorf("read pages: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	g := &Gateway{
		node: node, opts: o, log: o.Logger, hosts: newHosts(o), origins: http.NewCrossOriginProtection(),
		pages: pages, sampler: newSampler(node), lately: newLately[*Background](), failures: newLately[[]faena.Info](), started: time.Now(), stop: stop, done: ctx.Done(),
	}
	g.registry, g.metrics = newMetrics(g)
	if err := g.build(); err != nil {
		stop()
		return nil, err
	}
	g.tasks.Go(func() { g.sampler.run(ctx) })
	return g, nil
}

// Leave makes /readyz say no and /status closing, and refuses new runs with
// CodeClosed; all else is answered as before. Call it before the node is closed,
// which may take as long as its work, and Close after that.
func (g *Gateway) Leave() { g.leaving.Store(true) }

// Close does what Leave does, ends waits for runs, stops the counting and
// returns when it has stopped. It may be called twice, and before the server is
// shut down.
func (g *Gateway) Close() error {
	g.Leave()
	g.stop()
	g.tasks.Wait()
	return nil
}

// mayAdd refuses what makes runs once the node is being closed.
func (g *Gateway) mayAdd(op string) error {
	if g.leaving.Load() {
		return &faena.Error{Code: faena.CodeClosed, Op: op, Err: errors.New("this server is shutting down and takes no new runs")}
	}
	return nil
}

// ServeHTTP answers one request. A handler's panic is logged and answered with
// status 500.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.requests.Add(1)
	begun := time.Now()
	rec := &recorder{ResponseWriter: w}
	defer func() {
		if p := recover(); p != nil {
			g.panicked(rec, r, p)
		}
		g.metrics.observe(r, rec.code(), time.Since(begun))
	}()
	secure(rec.Header())
	if err := g.check(r); err != nil {
		g.fail(rec, r, err)
		return
	}
	if _, pattern := g.mux.Handler(r); pattern == "" {
		g.fail(rec, r, g.unrouted(rec.Header(), r))
		return
	}
	g.mux.ServeHTTP(rec, r)
}

func (g *Gateway) panicked(w *recorder, r *http.Request, p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint // the very same value, as net/http compares it
		panic(p)
	}
	g.log.ErrorContext(r.Context(), "a request's handler panicked", slog.String("path", r.URL.Path), slog.Any("panic", p), slog.String("stack", stack()))
	if w.status == 0 {
		g.fail(w, r, &faena.Error{Code: faena.CodeInternal, Op: "answer " + r.URL.Path, Err: fmt.Errorf("the handler panicked; the log has its stack")})
	}
}

// recorder remembers what status was sent.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
