package embedded_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

const large = 200 << 10

// store is an engine with a worker, and what its server stores.
type store struct {
	t   *testing.T
	eng *embedded.Engine
	nc  *nats.Conn
	js  jetstream.JetStream
	ids *engine.IDs
}

func newStore(t *testing.T, hook engine.WriteHook, exec func(context.Context, *engine.Attempt) engine.Outcome) *store {
	t.Helper()
	s := &store{t: t, ids: engine.NewIDs()}
	var err error
	if s.eng, err = embedded.Open(t.Context(), embedded.Options{Dir: filepath.Join(t.TempDir(), "data"), Hook: hook, Sync: func() error { return nil }}); err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { s.eng.Close() }) //nolint:errcheck // the test is over
	if s.nc, err = s.eng.Conn(); err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(s.nc.Close)
	if s.js, err = jetstream.New(s.nc); err != nil {
		t.Fatalf("open JetStream: %v", err)
	}
	w, err := s.eng.Work(engine.WorkOptions{Slots: 2, Exec: exec})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "task"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	return s
}

// run submits one whose input has n bytes.
func (s *store) run(n int, keep uint32) engine.ID {
	s.t.Helper()
	r := engine.Run{
		ID: s.ids.New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 1}, Keep: [2]uint32{keep, keep},
		Input: engine.Value{Data: bytes.Repeat([]byte("i"), n)},
	}
	if err := s.eng.Submit(s.t.Context(), []engine.Run{r}); err != nil {
		s.t.Fatalf("Submit = %v", err)
	}
	return r.ID
}

// kinds counts what is stored of large values by kind: in, out, saved.
func (s *store) kinds() map[string]int {
	s.t.Helper()
	b, err := s.js.ObjectStore(s.t.Context(), "FAENA_VALUES")
	if err != nil {
		s.t.Fatalf("open the object store: %v", err)
	}
	got := map[string]int{}
	all, err := b.List(s.t.Context())
	if err != nil && !strings.Contains(err.Error(), "no objects found") {
		s.t.Fatalf("list objects: %v", err)
	}
	for _, o := range all {
		got[strings.Split(o.Name, ".")[1]]++
	}
	return got
}

// want is that exactly as many are stored, and nothing of others.
func (s *store) want(when, kind string, n int) {
	s.t.Helper()
	got := s.kinds()
	if got[kind] != n || len(got) > 1 || n == 0 && len(got) > 0 {
		s.t.Errorf("%s: large values %v, want %d of kind %s", when, got, n, kind)
	}
	i, err := s.js.Stream(s.t.Context(), "OBJ_FAENA_VALUES")
	if err != nil {
		s.t.Fatalf("look at the stream: %v", err)
	}
	if msgs := i.CachedInfo().State.Msgs; msgs != uint64(3*n) { // two chunks and what names them
		s.t.Errorf("%s: %d messages of large values, want %d", when, msgs, 3*n)
	}
}

func (s *store) state(id engine.ID) engine.State {
	s.t.Helper()
	i, err := s.eng.Get(s.t.Context(), id)
	if err != nil {
		s.t.Fatalf("Get = %v", err)
	}
	return i.State
}

func wait(d time.Duration) {
	pause(d)
	synctest.Wait()
}

// pause is a handler's.
func pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

func TestLargeCheckpointGoesWhenTheNextIsStored(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := newStore(t, nil, func(_ context.Context, a *engine.Attempt) engine.Outcome {
			for range 5 {
				a.Lease.Checkpoint(bytes.Repeat([]byte("c"), large))
				pause(2 * time.Second)
			}
			return engine.Outcome{Output: []byte("1")}
		})
		id := s.run(1, 3600)
		wait(9 * time.Second)
		s.want("while it runs", "saved", 1)
		wait(3 * time.Second)
		if got := s.state(id); got != engine.Succeeded {
			t.Errorf("the run is %v, want succeeded", got)
		}
		s.want("after its end", "saved", 0)
	})
}

func TestLargeCheckpointGoesWithItsRunAlsoIfAnotherAttemptStoredIt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := newStore(t, nil, func(ctx context.Context, a *engine.Attempt) engine.Outcome {
			v, err := a.Lease.Resume(ctx)
			if err != nil || a.Run.Attempt == 1 && len(v) != large {
				t.Errorf("Resume = %d bytes, %v, want %d", len(v), err, large)
			}
			if a.Run.Attempt == 0 {
				a.Lease.Checkpoint(bytes.Repeat([]byte("c"), large))
				return engine.Outcome{Failure: &engine.Failure{Code: engine.CodeFailed}}
			}
			a.Lease.Checkpoint([]byte("small"))
			pause(2 * time.Second)
			return engine.Outcome{Output: []byte("1")}
		})
		r := engine.Run{ID: s.ids.New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 2, Base: 5 * time.Second}, Keep: [2]uint32{3600, 3600}}
		if err := s.eng.Submit(t.Context(), []engine.Run{r}); err != nil {
			t.Fatalf("Submit = %v", err)
		}
		wait(2 * time.Second)
		s.want("between its attempts", "saved", 1)
		wait(15 * time.Second)
		s.want("after its end", "saved", 0)
	})
}

func TestLargeCheckpointGoesWhenItsRunIsCancelledBetweenAttempts(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := newStore(t, nil, func(_ context.Context, a *engine.Attempt) engine.Outcome {
			a.Lease.Checkpoint(bytes.Repeat([]byte("c"), large))
			return engine.Outcome{Failure: &engine.Failure{Code: engine.CodeFailed}}
		})
		r := engine.Run{ID: s.ids.New(), Queue: "q", Task: "task", Retry: engine.Retry{Attempts: 2, Base: time.Minute}, Keep: [2]uint32{3600, 3600}}
		if err := s.eng.Submit(t.Context(), []engine.Run{r}); err != nil {
			t.Fatalf("Submit = %v", err)
		}
		wait(2 * time.Second)
		s.want("between its attempts", "saved", 1)
		if _, err := s.eng.Cancel(t.Context(), []engine.ID{r.ID}); err != nil {
			t.Fatalf("Cancel = %v", err)
		}
		wait(2 * time.Second)
		s.want("after its end", "saved", 0)
	})
}

func TestLargeOutputGoesWithItsRun(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := newStore(t, nil, func(context.Context, *engine.Attempt) engine.Outcome {
			return engine.Outcome{Output: bytes.Repeat([]byte("o"), large)}
		})
		for range 3 {
			s.run(1, 10)
		}
		wait(5 * time.Second)
		s.want("while the runs are kept", "out", 3)
		wait(30 * time.Second)
		s.want("once they are not", "out", 0)
	})
}

func TestLargeInputGoesOnceItsRunHasSucceeded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		good := false
		s := newStore(t, nil, func(context.Context, *engine.Attempt) engine.Outcome {
			if !good {
				return engine.Outcome{Failure: &engine.Failure{Code: engine.CodeFailed}}
			}
			return engine.Outcome{Output: []byte("1")}
		})
		id := s.run(large, 1000)
		wait(5 * time.Second)
		s.want("a failed run's", "in", 1)
		good = true
		again, err := s.eng.Retry(t.Context(), []engine.ID{id})
		if err != nil {
			t.Fatalf("Retry = %v", err)
		}
		wait(5 * time.Second)
		if got := s.state(again[0]); got != engine.Succeeded {
			t.Errorf("the retry is %v, want succeeded", got)
		}
		s.want("once its retry has succeeded", "in", 1)
		wait(20 * time.Minute)
		s.want("once it has left the index", "in", 0)
	})
}

// A success that comes to the log after a cancel is void, and what was cancelled
// can be retried.
func TestLargeInputStaysIfACancelCameFirst(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var s *store
		begun := make(chan engine.ID, 1)
		s = newStore(t, func(w engine.Write, after bool) error {
			if w != engine.WriteRecord || after {
				return nil
			}
			select {
			case id := <-begun:
				r := engine.Record{ID: id, State: engine.Cancelled, Queue: "q", Task: "task", Keep: 3600, End: time.Now().UnixMilli()}
				if _, err := s.nc.RequestWithContext(t.Context(), "faena.log.0", engine.AppendRecord(nil, &r)); err != nil {
					t.Errorf("publish: %v", err)
				}
			default:
			}
			return nil
		}, func(_ context.Context, a *engine.Attempt) engine.Outcome {
			begun <- a.Run.ID
			pause(2 * time.Second)
			return engine.Outcome{Output: []byte("1")}
		})
		id := s.run(large, 3600)
		wait(5 * time.Second)
		if got := s.state(id); got != engine.Cancelled {
			t.Errorf("the run is %v, want cancelled", got)
		}
		s.want("of a cancelled run", "in", 1)
	})
}

// put stores a value as a process would that dies after it.
func (s *store) put(name string, whole bool) {
	s.t.Helper()
	ctx := s.t.Context()
	if !whole {
		if _, err := s.js.Publish(ctx, "$O.FAENA_VALUES.C."+name, []byte("part")); err != nil {
			s.t.Fatalf("store part of an object: %v", err)
		}
		return
	}
	meta, err := json.Marshal(jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: name}, Bucket: "FAENA_VALUES", NUID: name, Size: 5, Chunks: 1,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for subject, data := range map[string][]byte{ // as the library's Put does, which leaves a goroutine behind at times
		"$O.FAENA_VALUES.C." + name: []byte("value"),
		"$O.FAENA_VALUES.M." + base64.URLEncoding.EncodeToString([]byte(name)): meta,
	} {
		if _, err := s.js.Publish(ctx, subject, data); err != nil {
			s.t.Fatalf("store an object: %v", err)
		}
	}
}

// there tells whether a value, or part of one, is stored.
func (s *store) there(name string) bool {
	s.t.Helper()
	i, err := s.js.Stream(s.t.Context(), "OBJ_FAENA_VALUES")
	if err != nil {
		s.t.Fatalf("look at the stream: %v", err)
	}
	for _, subject := range []string{"$O.FAENA_VALUES.C." + name, "$O.FAENA_VALUES.M." + base64.URLEncoding.EncodeToString([]byte(name))} {
		if _, err := i.GetLastMsgForSubject(s.t.Context(), subject); err == nil {
			return true
		}
	}
	return false
}

func TestSweepOfLargeValues(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		stop := make(chan struct{})
		s := newStore(t, nil, func(ctx context.Context, a *engine.Attempt) engine.Outcome {
			switch len(a.Input) {
			case 1:
				return engine.Outcome{Output: bytes.Repeat([]byte("o"), large)}
			case 2:
				return engine.Outcome{Failure: &engine.Failure{Code: engine.CodeFailed}}
			}
			a.Lease.Checkpoint(bytes.Repeat([]byte("c"), large))
			select {
			case <-stop:
			case <-ctx.Done():
			}
			return engine.Outcome{Output: []byte("1")}
		})
		good, bad, live, none, home := s.run(1, 1e6), s.run(2, 1e6), s.run(large, 1e6), s.ids.New(), s.ids.New()
		if _, err := s.js.Publish(t.Context(), "faena.home."+home.String(), []byte("as of a node whose runs a new index does not know")); err != nil {
			t.Fatalf("publish: %v", err)
		}
		wait(9 * time.Minute) // before the first sweep
		keep := []string{
			bad.String() + ".in.x", live.String() + ".in.x", live.String() + ".out.x", none.String() + ".in.x", home.String() + ".in.x",
		}
		gone := []string{
			good.String() + ".in.x", good.String() + ".out.x", good.String() + ".saved.x",
			bad.String() + ".out.x", bad.String() + ".saved.x", live.String() + ".saved.x",
		}
		for _, n := range append(keep, gone...) {
			s.put(n, true)
		}
		part := good.String() + ".out.y"
		s.put(part, false)
		wait(5 * time.Minute)
		for _, n := range append(append(keep, gone...), part) {
			if !s.there(n) {
				t.Errorf("after five minutes %s is gone, want that it stays: a message may come to name it", n)
			}
		}
		wait(25 * time.Minute)
		for _, n := range append(gone, part) {
			if s.there(n) {
				t.Errorf("after half an hour %s is there, want that it is gone", n)
			}
		}
		for _, n := range keep {
			if !s.there(n) {
				t.Errorf("after half an hour %s is gone, want that it stays", n)
			}
		}
		wait(time.Hour)
		if n := none.String() + ".in.x"; s.there(n) {
			t.Errorf("after an hour and a half %s is there, want that it is gone: no such run", n)
		}
		if n := home.String() + ".in.x"; !s.there(n) {
			t.Errorf("after an hour and a half %s is gone, want that it stays: its run is at home", n)
		}
		got := s.kinds()
		if got["in"] != 4 || got["out"] != 2 || got["saved"] != 1 {
			t.Errorf("large values %v, want four inputs, two outputs and a checkpoint", got)
		}
		close(stop)
		wait(5 * time.Second)
		if got := s.state(live); got != engine.Succeeded {
			t.Errorf("the run is %v, want succeeded", got)
		}
	})
}
