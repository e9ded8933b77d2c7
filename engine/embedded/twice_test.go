package embedded_test

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// fatal is a hook that kills its process with the first checkpoint.
func fatal(w engine.Write, _ bool) error {
	if w == engine.WriteCheckpoint {
		return engine.ErrCrashed
	}
	return nil
}

// joinWorker is another process, as it were, with a worker for one task.
func joinWorker(t *testing.T, owner *embedded.Engine, name string, hook engine.WriteHook, h func(context.Context, *engine.Attempt) engine.Outcome) {
	t.Helper()
	e, err := owner.Join(t.Context(), name, hook)
	if err != nil {
		t.Fatalf("Join = %v", err)
	}
	t.Cleanup(func() { e.Close() }) //nolint:errcheck // the test is over
	w, err := e.Work(engine.WorkOptions{Slots: 4, Exec: h})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "task"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
}

// ownerAlone is an engine without a worker, and another's connection to it.
func ownerAlone(t *testing.T, dir string) (*embedded.Engine, *nats.Conn) {
	t.Helper()
	owner, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Sync: func() error { return nil }})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { owner.Close() }) //nolint:errcheck // the test is over
	conn, err := owner.Conn()
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(conn.Close)
	return owner, conn
}

// A run whose publish was not answered stands twice in its queue. The first message,
// which the index names, comes to a process that dies, and then to one that executes
// the second. It was acknowledged at once, and when that process died too, the run
// looked as if the disk had damaged it.
func TestRunThatStandsTwiceInItsQueueIsNotLost(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	bubble(t, func(t *testing.T) {
		t.Helper()
		owner, conn := ownerAlone(t, dir)
		run := engine.Run{ID: engine.NewIDs().New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{3600, 3600}}
		ended := make(chan *engine.Record, 1)
		owner.Watch(run.ID, engine.WaiterFunc(func(r *engine.Record) { ended <- r }))
		if err := owner.Submit(t.Context(), []engine.Run{run}); err != nil {
			t.Fatalf("Submit = %v", err)
		}
		// The process that dies with the first message.
		dies, err := conn.SubscribeSync("dies")
		if err != nil {
			t.Fatalf("subscribe: %v", err)
		}
		if err := conn.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.FAENA_Q_q.work", "dies", []byte(`{"batch":1}`)); err != nil {
			t.Fatalf("pull: %v", err)
		}
		synctest.Wait()
		if n, _, err := dies.Pending(); err != nil || n != 1 {
			t.Fatalf("%d messages were delivered, %v; want the first", n, err)
		}
		joinWorker(t, owner, "second", fatal, func(ctx context.Context, a *engine.Attempt) engine.Outcome {
			time.Sleep(6 * time.Second) // it gets the first message, too
			a.Lease.Checkpoint([]byte("1"))
			<-ctx.Done()
			return engine.Outcome{Interrupted: true}
		})
		synctest.Wait() // what comes from here on is not in doubt: its start is not recorded
		if err := conn.Publish("faena.q.q.1", engine.AppendRun(nil, &run)); err != nil {
			t.Fatalf("publish: %v", err)
		}
		time.Sleep(30 * time.Second) // it is dead for long
		joinWorker(t, owner, "third", nil, func(context.Context, *engine.Attempt) engine.Outcome {
			return engine.Outcome{Output: []byte("1")}
		})
		if r := <-ended; r.State != engine.Succeeded {
			t.Errorf("it ended %v, %+v; want succeeded", r.State, r.Failure)
		}
	})
}

// What came in a message of several runs and may have been under way when its
// worker died begins before what is behind it in the queue. It was handed back to
// the queue's end, one by one.
func TestRunsOfAMessageInDoubtKeepTheirPlace(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	bubble(t, func(t *testing.T) {
		t.Helper()
		owner, conn := ownerAlone(t, dir)
		ids := engine.NewIDs()
		first := engine.Run{ID: ids.New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{3600, 3600}}
		if err := owner.Submit(t.Context(), []engine.Run{first}); err != nil { // the queue is there then
			t.Fatalf("Submit = %v", err)
		}
		inDoubt := map[engine.ID]bool{}
		var chunk []byte
		for range 4 {
			r := first
			r.ID, r.Rev, r.Doubt = ids.New(), 1, true
			chunk = engine.AppendRun(chunk, &r)
			inDoubt[r.ID] = true
		}
		if err := conn.Publish("faena.q.q.1", chunk); err != nil {
			t.Fatalf("publish: %v", err)
		}
		const backlog = 200
		for range backlog {
			r := first
			r.ID = ids.New()
			if err := conn.Publish("faena.q.q.1", engine.AppendRun(nil, &r)); err != nil {
				t.Fatalf("publish: %v", err)
			}
		}
		synctest.Wait()
		began := make(chan engine.ID, 1+len(inDoubt)+backlog)
		joinWorker(t, owner, "second", nil, func(_ context.Context, a *engine.Attempt) engine.Outcome {
			began <- a.Run.ID
			time.Sleep(50 * time.Millisecond)
			return engine.Outcome{Output: []byte("1")}
		})
		for n := 1; len(inDoubt) > 0; n++ {
			if delete(inDoubt, <-began); n > backlog/2 {
				t.Fatalf("%d runs of the message in doubt are behind the first half of the backlog", len(inDoubt))
			}
		}
	})
}
