package embedded_test

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/engine/natsengine"
)

// spoiler is what connections meet that it wraps: what is written with some text
// in it is lost, or breaks the connection, the next few times.
type spoiler struct {
	mu   sync.Mutex
	lose map[string]int
	cut  map[string]int
}

func (p *spoiler) wrap(c net.Conn) net.Conn { return spoiled{c, p} }

type spoiled struct {
	net.Conn

	p *spoiler
}

func (c spoiled) Write(b []byte) (int, error) {
	if c.p.meets(c.p.lose, b) {
		return len(b), nil
	}
	if c.p.meets(c.p.cut, b) {
		c.Close() //nolint:errcheck // it is to break
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func (p *spoiler) meets(texts map[string]int, b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for text, n := range texts {
		if n > 0 && bytes.Contains(b, []byte(text)) {
			texts[text]--
			return true
		}
	}
	return false
}

// spoiledEngine is an engine beside its owner, over connections that p spoils.
func spoiledEngine(t *testing.T, p *spoiler) (eng *natsengine.Engine, end func()) {
	t.Helper()
	owner, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Durability: embedded.Fast})
	if err != nil {
		t.Fatal(err)
	}
	if eng, err = owner.JoinOver(t.Context(), "worker", p.wrap); err != nil {
		t.Fatal(err)
	}
	return eng, func() {
		eng.Close()   //nolint:errcheck // the test is over
		owner.Close() //nolint:errcheck // the same
	}
}

// endAll submits a run of each task and waits until they have succeeded.
func endAll(t *testing.T, eng engine.Engine, tasks ...string) {
	t.Helper()
	ids, ended := engine.NewIDs(), make(chan engine.State, len(tasks))
	runs := make([]engine.Run, len(tasks))
	for i, task := range tasks {
		runs[i] = engine.Run{ID: ids.New(), Queue: "q", Task: task, Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{3600, 3600}}
		eng.Watch(runs[i].ID, engine.WaiterFunc(func(r *engine.Record) { ended <- r.State }))
	}
	if err := eng.Submit(t.Context(), runs); err != nil {
		t.Fatalf("Submit = %v", err)
	}
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for i := range runs {
		select {
		case s := <-ended:
			if s != engine.Succeeded {
				t.Errorf("a run is %v, want succeeded", s)
			}
		case <-late.C:
			t.Fatalf("%d of %d runs have ended: the worker does not take the others", i, len(runs))
		}
	}
}

func nothing(context.Context, *engine.Attempt) engine.Outcome { return engine.Outcome{} }

// A server that went away while a worker began had the process end by a nil
// dereference: what is to be told of lost connections was not made yet.
//
//nolint:paralleltest // a connection that comes back in a bubble leaves a timer of it in a pool that all of nats.go shares
func TestConnectionLostWhileWorkerBegins(t *testing.T) {
	defer func() { // a pool is empty after two
		runtime.GC()
		runtime.GC()
	}()
	bubble(t, func(t *testing.T) {
		p := &spoiler{lose: map[string]int{}, cut: map[string]int{}}
		eng, end := spoiledEngine(t, p)
		defer end()
		p.mu.Lock()
		p.cut["SUB faena.kick"], p.lose["FAENA_CANCELLED"] = 1, 1 // the connection is back long before the answer fails to come
		p.mu.Unlock()
		if _, err := eng.Work(engine.WorkOptions{Slots: 1, Exec: nothing}); engine.CodeOf(err) != engine.CodeUnavailable {
			t.Errorf("Work without an answer = %v, want unavailable", err)
		}
		p.mu.Lock()
		p.cut["SUB faena.kick"] = 1
		p.mu.Unlock()
		w, err := eng.Work(engine.WorkOptions{Slots: 1, Exec: nothing})
		if err != nil {
			t.Fatalf("Work over a connection that breaks = %v", err)
		}
		if err := w.Handle(t.Context(), "q", "t"); err != nil {
			t.Fatalf("Handle = %v", err)
		}
		endAll(t, eng, "t")
	})
}

// A Handle that had failed kept the next one from taking the queue, although that
// gave no error.
func TestHandleAfterOneThatFailed(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]string{
		"the queue's state": "CONSUMER.INFO.FAENA_Q_q",
		"parked runs":       "CONSUMER.CREATE.FAENA_DELAYED.park_q_t",
		"due runs":          "CONSUMER.CREATE.FAENA_DELAYED.due_q",
		"what is in doubt":  "STREAM.INFO.FAENA_Q_q",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				p := &spoiler{lose: map[string]int{}, cut: map[string]int{}}
				eng, end := spoiledEngine(t, p)
				defer end()
				w, err := eng.Work(engine.WorkOptions{Slots: 1, Exec: nothing})
				if err != nil {
					t.Fatalf("Work = %v", err)
				}
				p.mu.Lock()
				p.lose[lost] = 1
				p.mu.Unlock()
				if err := w.Handle(t.Context(), "q", "t"); err == nil {
					t.Error("Handle = nil although a request was lost")
				}
				handleBoth(t, w)
				endAll(t, eng, "t", "u")
			})
		})
	}
}

// Of two that begin at once, one may fail.
func TestHandleBesideOneThatFails(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := &spoiler{lose: map[string]int{"CONSUMER.CREATE.FAENA_DELAYED.park_q_t": 1}, cut: map[string]int{}}
		eng, end := spoiledEngine(t, p)
		defer end()
		w, err := eng.Work(engine.WorkOptions{Slots: 1, Exec: nothing})
		if err != nil {
			t.Fatalf("Work = %v", err)
		}
		failed := make(chan error, 2)
		for _, task := range []string{"t", "u"} {
			go func() { failed <- w.Handle(t.Context(), "q", task) }()
		}
		if err, other := <-failed, <-failed; (err == nil) == (other == nil) {
			t.Errorf("Handle of two tasks = %v and %v, want one of them to fail", err, other)
		}
		handleBoth(t, w)
		endAll(t, eng, "t", "u")
	})
}

// handleBoth has a worker take both tasks, at once; that they are taken already
// is no error.
func handleBoth(t *testing.T, w engine.Worker) {
	t.Helper()
	failed := make(chan error, 2)
	for _, task := range []string{"t", "u"} {
		go func() { failed <- w.Handle(t.Context(), "q", task) }()
	}
	for range 2 {
		if err := <-failed; err != nil {
			t.Errorf("Handle = %v", err)
		}
	}
}
