package faena

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Options configure a [Node]; the zero value works.
type Options struct {
	Name       string        // of the node, for people; default host name and process id
	Version    string        // of the program, for people; default none
	Slots      int           // attempts executed at a time; default GOMAXPROCS
	MaxWaiting int           // runs that may wait for others without a slot; default 10000
	MaxDeaths  int           // of workers, after which a run executed here next is lost instead; default 3, at most 200
	MaxInput   int64         // bytes of an encoded input; default 64 MiB
	MaxOutput  int64         // bytes of an encoded output; default 1 GiB
	Grace      time.Duration // what Close gives attempts to end by themselves; default 30 s, negative for none
	Logger     *slog.Logger  // default slog.Default()
	Hooks      Hooks         // default none
}

// Node is one process's access to faena: it submits, reads and controls runs,
// and executes those it has handlers for. Its methods may be called
// concurrently. Of a nil Node, and of one that Open has not made, they give an
// error with CodeInvalid.
type Node struct {
	eng  engine.Engine
	opts Options
	ids  *engine.IDs
	log  *slog.Logger
	done chan struct{} // closed when the node is

	table atomic.Pointer[table] // handlers and middleware; replaced under mu

	mu      sync.Mutex // of what follows
	worker  engine.Worker
	closing bool

	seen routes // what live workers take
}

// Open makes a node on an engine. The engine stays the caller's, to be closed
// after the node. ctx bounds the opening only.
func Open(ctx context.Context, eng engine.Engine, opts Options) (*Node, error) {
	if v := reflect.ValueOf(eng); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, invalid("open node", "the engine is nil")
	}
	if err := ctx.Err(); err != nil {
		return nil, ctxError(ctx, "open node")
	}
	if err := eng.Err(); err != nil {
		return nil, &Error{Code: CodeClosed, Op: "open node", Err: err}
	}
	if opts.Slots < 0 || opts.MaxWaiting < 0 || opts.MaxDeaths < 0 || opts.MaxInput < 0 || opts.MaxOutput < 0 {
		return nil, invalid("open node", "a limit in Options is negative")
	}
	if opts.MaxInput == 0 {
		opts.MaxInput = 64 << 20
	}
	if opts.MaxOutput == 0 {
		opts.MaxOutput = 1 << 30
	}
	if opts.Grace == 0 {
		opts.Grace = 30 * time.Second
	}
	n := &Node{eng: eng, opts: opts, ids: engine.NewIDs(), log: opts.Logger, done: make(chan struct{})}
	if n.log == nil {
		n.log = slog.Default()
	}
	n.table.Store(newTable(n, nil, nil))
	return n, nil
}

// Close stops taking runs, hands back what has not begun, and gives attempts
// under way Options.Grace to end; then their contexts end with ErrShutdown, and
// what they leave undone is executed elsewhere or later, uncharged. Waits for
// futures end with CodeClosed. It returns when all is done; what cannot be stored
// within five seconds after Grace, as on a full disk or without a server, is
// executed again. It may be called twice, and must not be called from a handler.
func (n *Node) Close() error {
	if n.unopened() {
		return zeroNode("close node")
	}
	n.mu.Lock()
	w, first := n.worker, !n.closing
	n.closing = true
	n.mu.Unlock()
	if !first {
		<-n.done
		return nil
	}
	var err error
	if w != nil {
		ctx, cancel := context.WithTimeout(context.Background(), max(n.opts.Grace, 0))
		err = w.Stop(ctx)
		cancel()
	}
	close(n.done)
	if err != nil {
		return &Error{Code: engine.CodeOf(err), Op: "close node", Err: err}
	}
	return nil
}

// unopened tells that there is no node, or its zero value.
func (n *Node) unopened() bool { return n == nil || n.eng == nil }

func zeroNode(op string) error {
	return invalid(op, "the node is nil or its zero value: make it by Open")
}

// over is the error of waits when the engine was closed, or cannot go on.
func (n *Node) over(op string) error { return &Error{Code: CodeClosed, Op: op, Err: n.eng.Err()} }

func (n *Node) isClosed() bool {
	select {
	case <-n.done:
		return true
	default:
		return false
	}
}
