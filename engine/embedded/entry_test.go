package embedded_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// handling is a worker of task t in queue q.
func handling(t *testing.T, e engine.Engine, exec func(ctx context.Context, a *engine.Attempt) engine.Outcome) engine.Worker {
	t.Helper()
	w, err := e.Work(engine.WorkOptions{Slots: 2, Exec: exec})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "t"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	return w
}

func runOf(keep uint32) engine.Run {
	return engine.Run{ID: engine.NewIDs().New(), Queue: "q", Task: "t", Retry: engine.Retry{Attempts: 5, Base: 3 * time.Second}, Keep: [2]uint32{keep, keep}}
}

func submit(t *testing.T, e engine.Engine, runs ...engine.Run) {
	t.Helper()
	if err := e.Submit(t.Context(), runs); err != nil {
		t.Fatalf("Submit = %v", err)
	}
}

// ending tells of a run's end.
func ending(e engine.Engine, id engine.ID) <-chan *engine.Record {
	end := make(chan *engine.Record, 1)
	e.Watch(id, engine.WaiterFunc(func(r *engine.Record) { end <- r }))
	return end
}

// within tells whether a run ends soon.
func within(d time.Duration, end <-chan *engine.Record) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-end:
		return true
	case <-timer.C:
		return false
	}
}

// waits is an attempt that waits for others, without a slot, until over is closed.
func waits(t *testing.T, ctx context.Context, a *engine.Attempt, over <-chan struct{}) { //nolint:revive // a test's first
	t.Helper()
	if err := a.Lease.Yield(); err != nil {
		t.Errorf("Yield = %v", err)
	}
	<-over
	if err := a.Lease.Regain(ctx); err != nil {
		t.Errorf("Regain = %v", err)
	}
}

// slowNet holds back what is written while it stands still.
type slowNet struct {
	still atomic.Bool
	mu    sync.Mutex
	conns []*slowConn
}

type slowConn struct {
	net.Conn

	n   *slowNet
	mu  sync.Mutex
	buf []byte
}

func (n *slowNet) over(c net.Conn) net.Conn {
	s := &slowConn{Conn: c, n: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, s)
	return s
}

func (s *slowConn) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n.still.Load() {
		s.buf = append(s.buf, b...)
		return len(b), nil
	}
	if err := s.release(); err != nil {
		return 0, err
	}
	return s.Conn.Write(b)
}

func (s *slowConn) release() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.Conn.Write(s.buf)
	s.buf = nil
	return err
}

func (n *slowNet) goOn() {
	n.still.Store(false)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.conns {
		s.mu.Lock()
		_ = s.release()
		s.mu.Unlock()
	}
}

// A worker that had not been heard for a while deleted the entry of the one that had
// taken over from it. When that died, too, the run was nobody's.
func TestEntryOfAnother(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	bubble(t, func(t *testing.T) {
		owner, _ := ownerAlone(t, dir)
		var n slowNet
		first, err := owner.JoinOver(t.Context(), "first", n.over)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close() //nolint:errcheck // the test is over
		begun, fail, die := make(chan string, 9), make(chan struct{}), make(chan struct{})
		handling(t, first, func(ctx context.Context, a *engine.Attempt) engine.Outcome {
			if begun <- "first"; len(fail) == 0 {
				waits(t, ctx, a, fail)
			}
			return engine.Outcome{Failure: &engine.Failure{Code: engine.CodeFailed, Message: "by the first"}}
		})
		r := runOf(3600)
		end := ending(owner, r.ID)
		submit(t, owner, r)
		<-begun
		time.Sleep(3 * time.Second) // it is at home by then
		n.still.Store(true)
		second, err := owner.Join(t.Context(), "second", fatal)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close() //nolint:errcheck // the test is over
		handling(t, second, func(ctx context.Context, a *engine.Attempt) engine.Outcome {
			begun <- "second"
			if err := a.Lease.Yield(); err != nil {
				t.Errorf("Yield = %v", err)
			}
			<-die
			a.Lease.Checkpoint([]byte("1")) // which ends this process
			<-ctx.Done()
			return engine.Outcome{Interrupted: true}
		})
		if who := <-begun; who != "second" {
			t.Fatalf("begun again on the %s", who)
		}
		time.Sleep(3 * time.Second)
		n.goOn()
		time.Sleep(time.Second)
		close(fail)
		time.Sleep(10 * time.Second)
		close(die)
		if !within(10*time.Minute, end) {
			i, err := owner.Get(t.Context(), r.ID)
			t.Errorf("ten minutes later: %+v, %v, want an end", i, err)
		}
	})
}

// The entry of a run that had ended stayed when it could not be deleted at once. Once
// the run was not kept any more it was taken for one that had not ended.
func TestEntryOfARunThatIsForgotten(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	bubble(t, func(t *testing.T) {
		var fails atomic.Bool
		o := embedded.Options{Dir: dir, Sync: func() error { return nil }, Hook: func(w engine.Write, after bool) error {
			if w == engine.WriteForget && !after && fails.Swap(false) {
				return errors.New("the server did not answer in time")
			}
			return nil
		}}
		var starts atomic.Int32
		over := make(chan struct{})
		open := func() (*embedded.Engine, engine.Worker) {
			owner, err := embedded.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			return owner, handling(t, owner, func(ctx context.Context, a *engine.Attempt) engine.Outcome {
				starts.Add(1)
				waits(t, ctx, a, over)
				return engine.Outcome{Output: []byte("1")}
			})
		}
		owner, w := open()
		r := runOf(60)
		end := ending(owner, r.ID)
		submit(t, owner, r)
		time.Sleep(5 * time.Second)
		fails.Store(true)
		close(over)
		<-end
		for range 2 {
			time.Sleep(30 * time.Minute)
			_ = w.Stop(t.Context())
			owner.Close() //nolint:errcheck // it is opened again
			owner, w = open()
		}
		time.Sleep(time.Minute)
		_ = w.Stop(t.Context())
		owner.Close() //nolint:errcheck // the test is over
		if n := starts.Load(); n != 1 || fails.Load() {
			t.Errorf("begun %d times, want once; the entry could be deleted at once: %v", n, fails.Load())
		}
	})
}

// A long run that a worker had not ended by the time it stopped was nobody's while
// the engine stayed open.
func TestEntryOfAWorkerThatStopped(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	bubble(t, func(t *testing.T) {
		owner, _ := ownerAlone(t, dir)
		var starts atomic.Int32
		over := make(chan struct{})
		exec := func(context.Context, *engine.Attempt) engine.Outcome {
			if starts.Add(1) == 1 {
				<-over // whatever its context says
			}
			return engine.Outcome{Output: []byte("1")}
		}
		w := handling(t, owner, exec)
		r := runOf(3600)
		end := ending(owner, r.ID)
		submit(t, owner, r)
		time.Sleep(2 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = w.Stop(ctx)
		w = handling(t, owner, exec)
		if !within(10*time.Minute, end) {
			t.Errorf("no end after %d starts", starts.Load())
		}
		close(over)
		_ = w.Stop(t.Context())
	})
}

// While the checkpoint of an attempt that was given up was stored, the worker told
// nobody that it lives, and its other runs began elsewhere.
func TestLeasesBesideASlowCheckpoint(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	bubble(t, func(t *testing.T) {
		owner, _ := ownerAlone(t, dir)
		slow := func(w engine.Write, after bool) error {
			if w == engine.WriteObject && !after {
				time.Sleep(10 * time.Second)
			}
			return nil
		}
		starts := make(chan string, 9)
		for name, hook := range map[string]engine.WriteHook{"slow": slow, "other": nil} {
			e, err := owner.Join(t.Context(), name, hook)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close() //nolint:errcheck // the test is over
			handling(t, e, func(_ context.Context, a *engine.Attempt) engine.Outcome {
				starts <- name
				time.Sleep(9 * time.Second)
				if a.Run.Timeout > 0 {
					a.Lease.Checkpoint([]byte(strings.Repeat("x", 300<<10)))
				}
				time.Sleep(50 * time.Second)
				return engine.Outcome{Output: []byte("1")}
			})
		}
		overdue := runOf(3600)
		overdue.Timeout, overdue.Retry = time.Second/2, engine.Retry{Attempts: 1}
		submit(t, owner, overdue, runOf(3600), runOf(3600), runOf(3600))
		for range 4 { // all slots are taken
			<-starts
		}
		time.Sleep(50 * time.Second)
		if n := len(starts); n > 0 {
			t.Errorf("%d runs began again beside workers that live, the first on %q", n, <-starts)
		}
		time.Sleep(time.Minute)
	})
}
