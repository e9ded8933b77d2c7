package faena_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

// loop executes in place what is submitted to it, to test what the root does
// and to measure it alone. It stores nothing, retries nothing and has one
// worker; behaviour that depends on an engine is tested on a real one.
type loop struct {
	engine.Engine // the rest is not called

	mu      sync.Mutex
	opts    engine.WorkOptions
	slots   chan struct{} // nil for any number
	pool    chan func()   // of goroutines that are reused; nil for new ones
	watch   map[faena.ID]engine.Waiter
	runs    []engine.Run // as submitted
	calls   int          // of Submit and SubmitBatch
	known   map[faena.ID]*engine.Info
	cancels []faena.ID
	cancel  map[faena.ID]context.CancelCauseFunc
	handled []engine.Route
	nodes   []faena.NodeInfo
	hold    bool // do not execute
	keep    bool // remember runs
	fail    error
	away    int // questions that get no answer
	short   int // submissions that there is no space for
	lost    []faena.ID
	wait    sync.WaitGroup
}

func newLoop(slots int) *loop {
	l := &loop{
		watch: map[faena.ID]engine.Waiter{}, known: map[faena.ID]*engine.Info{},
		cancel: map[faena.ID]context.CancelCauseFunc{}, keep: true,
	}
	if slots > 0 {
		l.slots = make(chan struct{}, slots)
	}
	return l
}

func (l *loop) Done() <-chan struct{} { return nil }
func (l *loop) Err() error            { return nil }

func (l *loop) Work(o engine.WorkOptions) (engine.Worker, error) { l.opts = o; return l, nil }

func (l *loop) Handle(_ context.Context, queue, task string) error {
	l.handled = append(l.handled, engine.Route{Queue: queue, Task: task})
	return nil
}

func (l *loop) Stop(context.Context) error { l.wait.Wait(); return nil }

func (l *loop) Watch(id faena.ID, w engine.Waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch[id] = w
}

func (l *loop) Unwatch(id faena.ID, _ engine.Waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watch, id)
}

// unanswered tells of a question that the engine's server is not there for.
func (l *loop) unanswered() error {
	if l.away == 0 {
		return nil
	}
	l.away--
	return &faena.Error{Code: faena.CodeUnavailable, Op: "ask", Err: errors.New("no connection")}
}

func (l *loop) Attach(_ context.Context, id faena.ID, w engine.Waiter) error {
	l.mu.Lock()
	if err := l.unanswered(); err != nil {
		l.mu.Unlock()
		return err
	}
	in := l.known[id]
	l.mu.Unlock()
	if in == nil {
		return &faena.Error{Code: faena.CodeNotFound, Op: "attach"}
	}
	l.Watch(id, w)
	l.mu.Lock()
	now := *in // it may end meanwhile
	l.mu.Unlock()
	if now.State.Terminal() {
		w.Resolve(&engine.Record{ID: id, Task: now.Task, State: now.State, Failure: now.Error, Output: engine.Value{Data: now.Output}})
	}
	return nil
}

func (l *loop) Submit(ctx context.Context, runs []engine.Run) error {
	l.mu.Lock()
	err := l.fail
	if err == nil && l.short > 0 {
		l.short--
		err = &faena.Error{Code: faena.CodeFull, Op: "submit", Err: errors.New("free some space")}
	}
	if err != nil {
		l.mu.Unlock()
		return err
	}
	l.calls++
	if l.keep {
		l.runs = append(l.runs, runs...)
		for i := range runs {
			r := &runs[i]
			l.known[r.ID] = &engine.Info{ID: r.ID, Task: r.Task, Queue: r.Queue, State: engine.Queued, Input: r.Input.Data}
		}
	}
	l.mu.Unlock()
	if !l.hold {
		for i := range runs {
			if l.pool != nil {
				l.pool <- func() { l.run(ctx, &runs[i], nil) }
				continue
			}
			l.wait.Go(func() { l.run(ctx, &runs[i], nil) })
		}
	}
	return nil
}

func (l *loop) SubmitBatch(ctx context.Context, runs []engine.Run) error { return l.Submit(ctx, runs) }

// run makes one attempt and tells its end.
func (l *loop) run(ctx context.Context, r *engine.Run, save []byte) engine.Outcome {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(withoutRun(ctx)))
	defer cancel(nil)
	if l.keep {
		l.mu.Lock()
		l.cancel[r.ID] = cancel
		l.mu.Unlock()
	}
	if l.slots != nil {
		l.slots <- struct{}{}
	}
	lease := &hold{l: l, saved: save}
	o := l.opts.Exec(ctx, &engine.Attempt{Started: time.Now(), Run: r, Input: r.Input.Data, Lease: lease})
	if l.slots != nil && !lease.free {
		<-l.slots
	}
	next := r.After(o, time.Now())
	if next.State == engine.Retrying {
		next.State = engine.Failed
	}
	l.end(&engine.Record{ID: r.ID, Task: r.Task, State: next.State, Failure: o.Failure, Output: engine.Value{Data: o.Output}})
	return o
}

func (l *loop) end(r *engine.Record) {
	l.mu.Lock()
	w := l.watch[r.ID]
	delete(l.watch, r.ID)
	if in := l.known[r.ID]; in != nil && !in.State.Terminal() {
		in.State, in.Error, in.Output = r.State, r.Failure, r.Output.Data
	}
	l.mu.Unlock()
	if w != nil {
		w.Resolve(r)
	}
}

func (l *loop) Cancel(_ context.Context, ids []faena.ID) ([]faena.State, error) {
	for _, id := range ids {
		if slices.Contains(l.lost, id) {
			return nil, &faena.Error{Code: faena.CodeNotFound, Op: "cancel", Err: errors.New("no such run")}
		}
	}
	states := make([]faena.State, len(ids))
	for i, id := range ids {
		l.mu.Lock()
		l.cancels = append(l.cancels, id)
		stop := l.cancel[id]
		states[i] = faena.Cancelled
		if in := l.known[id]; in != nil && in.State.Terminal() {
			states[i] = in.State
		}
		l.mu.Unlock()
		if stop != nil {
			stop(faena.ErrCancelled)
		}
		l.end(&engine.Record{ID: id, State: engine.Cancelled, Failure: &faena.Failure{Code: faena.CodeCancelled}})
	}
	return states, nil
}

func (l *loop) Retry(_ context.Context, ids []faena.ID) ([]faena.ID, error) {
	for _, id := range ids {
		if slices.Contains(l.lost, id) {
			return nil, &faena.Error{Code: faena.CodeNotFound, Op: "retry", Err: errors.New("its input is gone")}
		}
	}
	return ids, nil
}

func (l *loop) Find(_ context.Context, ids []faena.ID) ([]engine.Info, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.unanswered(); err != nil {
		return nil, err
	}
	var out []engine.Info
	for _, id := range ids {
		if in := l.known[id]; in != nil {
			out = append(out, *in)
		}
	}
	return out, nil
}

func (l *loop) Get(_ context.Context, id faena.ID) (*engine.Info, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.unanswered(); err != nil {
		return nil, err
	}
	if in := l.known[id]; in != nil {
		c := *in
		return &c, nil
	}
	return nil, &faena.Error{Code: faena.CodeNotFound, Op: "get"}
}

// List gives pages of q.Limit in the order of ids.
func (l *loop) List(_ context.Context, q engine.Query) (*engine.Page, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := new(engine.Page)
	for _, id := range slices.SortedFunc(maps.Keys(l.known), func(a, b faena.ID) int { return slices.Compare(a[:], b[:]) }) {
		in := l.known[id]
		if id.String() <= q.Cursor || len(q.States) > 0 && !slices.Contains(q.States, in.State) {
			continue
		}
		if len(p.Runs) == max(q.Limit, 1) {
			p.Next = p.Runs[len(p.Runs)-1].ID.String()
			break
		}
		p.Runs = append(p.Runs, *in)
	}
	return p, nil
}

func (l *loop) Nodes(context.Context) ([]faena.NodeInfo, error) { return l.nodes, nil }

// withoutRun hides the submitter's attempt, as a real engine's contexts do.
func withoutRun(context.Context) context.Context { return context.Background() }

// hold is a lease of a loop.
type hold struct {
	l     *loop
	free  bool
	saved []byte

	mu       sync.Mutex
	yields   int
	saves    [][]byte
	progress []engine.Progress
	yieldErr error
}

func (h *hold) Yield() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.yieldErr != nil {
		return h.yieldErr
	}
	if h.free {
		panic("Yield without a slot")
	}
	h.free = true
	h.yields++
	if h.l.slots != nil {
		<-h.l.slots
	}
	return nil
}

func (h *hold) Regain(ctx context.Context) error {
	if h.l.slots != nil {
		select {
		case h.l.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.free {
		panic("Regain with a slot")
	}
	h.free = false
	return nil
}

func (h *hold) Progress(p engine.Progress) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.progress = append(h.progress, p)
}

func (h *hold) Checkpoint(v []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saves = append(h.saves, v)
}

func (h *hold) Resume(context.Context) ([]byte, error) {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	return h.saved, h.l.unanswered()
}
