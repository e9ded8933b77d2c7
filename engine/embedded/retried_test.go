package embedded_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// A failed run is kept for longer than its retry that succeeded. An index that was
// built anew after the retry was forgotten showed the run as not retried, and who
// then retried all that had failed executed it once more.
func TestARetryThatIsForgottenStillCounts(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		open := func() *embedded.Engine {
			e, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Sync: func() error { return nil }})
			if err != nil {
				t.Fatalf("Open = %v", err)
			}
			return e
		}
		end := func(e *embedded.Engine, id engine.ID, how engine.Outcome) {
			ended := make(chan engine.State, 1)
			e.Watch(id, engine.WaiterFunc(func(r *engine.Record) { ended <- r.State }))
			w, err := e.Work(engine.WorkOptions{Slots: 1, Exec: func(context.Context, *engine.Attempt) engine.Outcome { return how }})
			if err != nil {
				t.Fatalf("Work = %v", err)
			}
			if err := w.Handle(t.Context(), "q", "task"); err != nil {
				t.Fatalf("Handle = %v", err)
			}
			<-ended
			if err := w.Stop(t.Context()); err != nil {
				t.Fatalf("Stop = %v", err)
			}
		}
		e := open()
		run := engine.Run{ID: engine.NewIDs().New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{60, 30 * 24 * 3600}}
		if err := e.Submit(t.Context(), []engine.Run{run}); err != nil {
			t.Fatalf("Submit = %v", err)
		}
		end(e, run.ID, engine.Outcome{Failure: &engine.Failure{Code: engine.CodeFailed, Message: "as planned"}})
		ids, err := e.Retry(t.Context(), []engine.ID{run.ID})
		if err != nil {
			t.Fatalf("Retry = %v", err)
		}
		end(e, ids[0], engine.Outcome{Output: []byte("1")})
		time.Sleep(10 * time.Minute)
		if _, err := e.Get(t.Context(), ids[0]); engine.CodeOf(err) != engine.CodeNotFound {
			t.Fatalf("Get of the retry = %v, want that it is forgotten: the test shows nothing", err)
		}
		if err := e.Close(); err != nil {
			t.Fatalf("Close = %v", err)
		}
		if err := os.Remove(index(dir)); err != nil {
			t.Fatal(err)
		}
		e = open()
		defer e.Close() //nolint:errcheck // the test is over
		if i, err := e.Get(t.Context(), run.ID); err != nil || i.RetriedBy != ids[0].String() {
			t.Errorf("Get = %+v, %v, want retried by %v", i, err, ids[0])
		}
		if _, err := e.Retry(t.Context(), []engine.ID{run.ID}); engine.CodeOf(err) != engine.CodeConflict {
			t.Errorf("Retry again = %v, want conflict", err)
		}
	})
}

// A failed child was not to be retried once its parent had been cancelled: each retry
// was cancelled with that.
func TestRetryOfAChildWhoseParentIsCancelled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	bubble(t, func(t *testing.T) {
		owner, _ := ownerAlone(t, dir)
		w := handling(t, owner, func(_ context.Context, a *engine.Attempt) engine.Outcome {
			if a.Run.RetryOf.IsZero() {
				return engine.Outcome{Permanent: true, Failure: &engine.Failure{Code: engine.CodePermanent, Message: "as planned"}}
			}
			return engine.Outcome{Output: []byte("1")}
		})
		parent, child := runOf(3600), runOf(3600)
		parent.At, child.Parent = time.Now().Add(time.Hour).UnixMilli(), parent.ID
		failed := ending(owner, child.ID)
		submit(t, owner, parent, child)
		<-failed
		if _, err := owner.Cancel(t.Context(), []engine.ID{parent.ID}); err != nil {
			t.Fatalf("Cancel = %v", err)
		}
		ids, err := owner.Retry(t.Context(), []engine.ID{child.ID})
		if err != nil {
			t.Fatalf("Retry = %v", err)
		}
		time.Sleep(5 * time.Second)
		if i, err := owner.Get(t.Context(), ids[0]); err != nil || i.State != engine.Succeeded {
			t.Errorf("Get of the retry = %+v, %v, want succeeded", i, err)
		}
		_ = w.Stop(t.Context())
	})
}
