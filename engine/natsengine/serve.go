package natsengine

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// Requests to a process that holds an index.
const (
	opGet    = "get"
	opInput  = "input"
	opFind   = "find"
	opList   = "list"
	opCounts = "counts"
	opQueues = "queues"
	opNodes  = "nodes"
	opStatus = "status"
	opCancel = "cancel"
	opRetry  = "retry"
	opAsk    = "ask"    // what is known of runs in doubt
	opRecord = "record" // a run's terminal record
	opCommit = "commit"
	opSettle = "settle" // sync, in fast mode too
	opQueue  = "queue"  // a queue was made
	opHello  = "hello"
	opOpened = "opened" // where a stream ended when the server started
)

// request asks a holder. After are positions the answer must not lie before.
type request struct {
	After map[string]uint64 `json:"after,omitempty"`
	IDs   []engine.ID       `json:"ids,omitempty"`
	Revs  []uint32          `json:"revs,omitempty"`
	Query engine.Query      `json:"query,omitzero"`
	Queue string            `json:"queue,omitempty"`
	Node  string            `json:"node,omitempty"` // that asks
	Mark  uint64            `json:"mark,omitempty"`
	// Server has the mark in its log: another's may be shorter.
	Server string `json:"server,omitempty"`
}

// answer is what a holder says.
type answer struct {
	Error  *wireError         `json:"error,omitempty"`
	Info   *engine.Info       `json:"info,omitempty"`
	Input  *engine.Value      `json:"input,omitempty"`
	Infos  []engine.Info      `json:"infos,omitempty"`
	Page   *engine.Page       `json:"page,omitempty"`
	Counts []engine.Count     `json:"counts,omitempty"`
	Queues []engine.QueueInfo `json:"queues,omitempty"`
	Nodes  []engine.NodeInfo  `json:"nodes,omitempty"`
	Status *engine.Status     `json:"status,omitempty"`
	States []engine.State     `json:"states,omitempty"`
	IDs    []engine.ID        `json:"ids,omitempty"`
	Known  []known            `json:"known,omitempty"`
	Record []byte             `json:"record,omitempty"` // a message of one frame
	// Refuses says why no run is accepted now.
	Refuses string `json:"refuses,omitempty"`
	Mark    uint64 `json:"mark,omitempty"`
}

type wireError struct {
	Code    engine.Code `json:"code"`
	Op      string      `json:"op"`
	Message string      `json:"message"`
}

// maxServed bounds the requests that a holder works on at a time.
const maxServed = 64

// serveRequests answers other processes.
func (h *holder) serveRequests() error {
	limit := make(chan struct{}, maxServed)
	sub, err := h.e.nc.QueueSubscribe(subjectHolder+"*", "holders", func(m *nats.Msg) {
		select {
		case limit <- struct{}{}:
		case <-h.e.ctx.Done():
			return
		}
		go func() {
			defer func() { <-limit }()
			h.respond(m)
		}()
	})
	if err != nil {
		return fmt.Errorf("serve index requests: %w", err)
	}
	h.sub = sub
	ctx, cancel := context.WithTimeout(h.e.ctx, requestTimeout)
	defer cancel()
	if err := h.e.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("serve index requests: %w", unavailable(err))
	}
	return nil
}

func (h *holder) respond(m *nats.Msg) {
	ctx, cancel := context.WithTimeout(h.e.ctx, 2*requestTimeout)
	defer cancel()
	op := m.Subject[len(subjectHolder):]
	var q request
	var a *answer
	err := json.Unmarshal(m.Data, &q)
	if err == nil {
		a, err = h.serve(ctx, op, &q)
	}
	if err != nil {
		a = &answer{Error: &wireError{Code: engine.CodeOf(err), Op: op, Message: err.Error()}}
	}
	if m.Reply == "" {
		return
	}
	b, err := packed(a, &q, h.e.nc.MaxPayload())
	if err != nil {
		b, _ = json.Marshal(answer{Error: &wireError{Code: engine.CodeOf(err), Op: op, Message: err.Error()}})
	}
	if err := m.Respond(b); err != nil && h.e.ctx.Err() == nil {
		h.e.log.Warn("answer a request", "op", op, "error", err)
	}
}

// packed is an answer as a message, which most bounds: a page ends sooner then.
func packed(a *answer, q *request, most int64) ([]byte, error) {
	for {
		b, err := json.Marshal(a)
		if err != nil {
			return nil, &engine.Error{Code: engine.CodeInternal, Err: err}
		}
		if int64(len(b)) <= most {
			return b, nil
		}
		if a.Page == nil || len(a.Page.Runs) < 2 {
			return nil, &engine.Error{Code: engine.CodeTooLarge, Err: fmt.Errorf("the answer has %d bytes, and a message may have %d: ask for less at a time", len(b), most)}
		}
		a.Page.Runs = a.Page.Runs[:len(a.Page.Runs)/2]
		if q.Query.Order != engine.OrderCreated {
			continue // it has no next page
		}
		mark, err := conditions(q.Query)
		if err != nil {
			return nil, err
		}
		last := a.Page.Runs[len(a.Page.Runs)-1].ID
		a.Page.Next = hex.EncodeToString(last[:]) + mark
	}
}

// serve answers one request, from this process or another.
func (h *holder) serve(ctx context.Context, op string, q *request) (*answer, error) {
	a, err := h.reply(ctx, op, q)
	if errors.Is(err, index.ErrDamaged) {
		h.broken.Do(func() { h.damaged(err) })
	}
	return a, err
}

func (h *holder) reply(ctx context.Context, op string, q *request) (*answer, error) {
	if err := h.barrier(ctx, q.After); err != nil {
		return nil, err
	}
	a := new(answer)
	var err error
	switch op {
	case opGet:
		a.Info, err = h.get(ctx, q.IDs)
	case opInput:
		a.Input, err = h.input(ctx, q.IDs)
	case opFind:
		a.Infos, err = h.find(ctx, q.IDs)
	case opList:
		a.Page, err = h.list(ctx, q.Query)
	case opCounts:
		a.Counts, err = h.counts()
	case opQueues:
		a.Queues, err = h.queues(ctx)
	case opNodes:
		a.Nodes = h.nodes.infos()
	case opStatus, opHello:
		a.Status = h.status(ctx, op)
		a.Refuses = refusal(h.e.accepting())
		if h.e.follow != nil {
			a.Mark = h.e.follow.seen.Load()
		}
	case opCancel:
		a.States, err = h.cancel(ctx, q.IDs)
	case opRetry:
		a.IDs, err = h.retry(ctx, q.IDs)
	case opAsk:
		a.Known, err = h.ask(ctx, q.Node, q.Queue, q.IDs, q.Revs)
	case opRecord:
		a.Record, err = h.record(ctx, q.IDs)
	case opCommit:
		err = h.commit(ctx, q.Server, q.Mark)
	case opSettle:
		err = h.e.settle(ctx)
	case opOpened:
		if a.Mark = h.opened[q.Queue]; h.anew.Load() {
			a.Mark = math.MaxUint64
		}
	case opQueue:
		err = h.e.queue(ctx, q.Queue)
	default:
		err = &engine.Error{Code: engine.CodeVersion, Op: op, Err: errors.New("this process does not know the request: run the same version everywhere")}
	}
	return a, err
}

func (h *holder) commit(ctx context.Context, server string, mark uint64) error {
	switch c := h.e.cfg.Commit; {
	case c == nil:
		return nil
	case mark != 0 && server != "" && server != h.e.server(): // what comes there later would count as on disk
		return &engine.Error{Code: engine.CodeUnavailable, Op: "commit", Err: errMoved}
	case mark != 0 && server != "":
		return c.WaitMark(ctx, mark)
	default:
		return c.Wait(ctx, 1)
	}
}

// call asks this process's index, or another's. One whose context has ended is
// told that, whatever was waited for.
func (e *Engine) call(ctx context.Context, op string, q *request) (a *answer, err error) {
	if err := e.ready(op); err != nil {
		return nil, err
	}
	if h := e.holder; h != nil {
		a, err = h.serve(ctx, op, q)
	} else {
		a, err = e.ask(ctx, op, q)
	}
	if err != nil && ctx.Err() != nil && (engine.CodeOf(err) == engine.CodeUnavailable || errors.Is(err, context.Cause(ctx))) {
		err = ended(ctx, op)
	}
	return a, err
}

// ended says that a caller's context has.
func ended(ctx context.Context, op string) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err { //nolint:errorlint // the very same value
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s: %w: %w", op, err, cause)
}

var (
	errLinkLost = errors.New("the connection to the server was lost")
	errNoAnswer = fmt.Errorf("the server did not answer within %s", requestTimeout)
)

// ask asks another process. It gives up after requestTimeout, and when the
// connection is lost: then no answer will come.
func (e *Engine) ask(ctx context.Context, op string, q *request) (*answer, error) {
	b, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("ask to %s: %w", op, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errNoAnswer)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(e.link.now(), func() { end(errLinkLost) })()
	m, err := e.nc.RequestWithContext(ctx, subjectHolder+op, b)
	if err != nil {
		if errors.Is(err, nats.ErrNoResponders) {
			err = errors.New("no process with an index answers: start faena serve, or open the engine with one")
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, &engine.Error{Code: engine.CodeUnavailable, Op: op, Err: err}
	}
	var a answer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return nil, &engine.Error{Code: engine.CodeInternal, Op: op, Err: err}
	}
	if a.Error != nil {
		return nil, &engine.Error{Code: a.Error.Code, Op: op, Err: errors.New(strings.TrimPrefix(a.Error.Message, op+": "))}
	}
	return &a, nil
}

// tellHolder sends a request that needs no answer.
func (e *Engine) tellHolder(op string, queue []byte) {
	b, err := json.Marshal(request{Queue: string(queue)})
	if err == nil {
		err = e.nc.Publish(subjectHolder+op, b)
	}
	if err != nil {
		e.log.Warn("tell the index holder", "op", op, "error", err)
	}
}

// link is a context that ends when the connection is lost.
type link struct {
	mu     sync.Mutex
	ctx    context.Context //nolint:containedctx // the connection's
	cancel context.CancelFunc
}

func (l *link) now() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.cancel = context.WithCancel(context.Background())
	}
	return l.ctx
}

func (l *link) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx != nil {
		l.cancel()
		l.ctx = nil
	}
}
