package faena_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

func TestSubmitByName(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	l.hold = true
	l.nodes = []faena.NodeInfo{
		{Routes: []faena.Route{{Queue: "z", Task: "far"}, {Queue: "b", Task: "far"}, {Queue: "b", Task: "two"}}},
		{Routes: []faena.Route{{Queue: "b", Task: "far"}, {Queue: "default", Task: "two"}}},
	}
	n := open(t, l, faena.Options{MaxInput: 20})
	handle(t, n, faena.Define[int, int]("here", faena.Queue("mine"), faena.Retry(9, 0)).With(same).From("other", "mine"))
	for name, c := range map[string]struct {
		task, input string
		opts        []faena.Option
		code        faena.Code
		queue, data string
		attempts    uint16
	}{
		"handled here":      {task: "here", input: " 1", queue: "other", data: " 1", attempts: 9},
		"with a queue":      {task: "here", opts: []faena.Option{faena.Queue("x")}, queue: "x", data: "null", attempts: 9},
		"handled elsewhere": {task: "far", queue: "b", data: "null", attempts: 5},
		"default if it is":  {task: "two", queue: "default", data: "null", attempts: 5},
		"unknown":           {task: "none", code: faena.CodeUnknownTask},
		"unknown in queue":  {task: "none", opts: []faena.Option{faena.Queue("x")}, code: faena.CodeUnknownTask},
		"unknown, allowed":  {task: "none", opts: []faena.Option{faena.WaitForWorker()}, queue: "default", data: "null", attempts: 5},
		"known, allowed":    {task: "far", opts: []faena.Option{faena.WaitForWorker()}, queue: "b", data: "null", attempts: 5},
		"not JSON":          {task: "here", input: "{", code: faena.CodeInput},
		"wrong type":        {task: "here", input: `"x"`, code: faena.CodeInput},
		"too large":         {task: "here", input: `"123456789012345678901"`, code: faena.CodeTooLarge},
		"no name":           {task: "a b", code: faena.CodeInvalid},
		"wrong option":      {task: "here", opts: []faena.Option{faena.Window(0)}, code: faena.CodeInvalid},
		"named":             {task: "here", opts: []faena.Option{faena.Named("x")}, code: faena.CodeInvalid},
	} {
		l.runs = nil
		id, err := n.Submit(t.Context(), c.task, json.RawMessage(c.input), c.opts...)
		if c.code != "" {
			wantCode(t, name+": Submit", err, c.code)
			continue
		}
		if err != nil {
			t.Errorf("%s: Submit = %v", name, err)
			continue
		}
		r := l.runs[0]
		if r.ID != id || r.Queue != c.queue || string(r.Input.Data) != c.data || r.Retry.Attempts != c.attempts {
			t.Errorf("%s: Submit stored %s in %s with %s, %d attempts, as %s; want %s, %s, %d", name, r.ID, r.Queue, r.Input.Data, r.Retry.Attempts, id, c.queue, c.data, c.attempts)
		}
	}
	l.runs = nil
	ids, err := n.SubmitBatch(t.Context(), "here", []json.RawMessage{[]byte("1"), nil})
	if err != nil || len(ids) != 2 || len(l.runs) != 2 || l.runs[1].ID != ids[1] {
		t.Errorf("SubmitBatch = %v, %v and stored %d runs, want 2 of each", ids, err, len(l.runs))
	}
	for _, bad := range []string{`{`, `"x"`, `"123456789012345678901"`} { // which it was, was not told
		_, err := n.SubmitBatch(t.Context(), "here", []json.RawMessage{[]byte("1"), []byte(bad)})
		if err == nil || !strings.HasPrefix(err.Error(), "submit here: inputs[1]: ") || strings.Count(err.Error(), "submit here") != 1 {
			t.Errorf("SubmitBatch(1, %s) = %v, want an error of inputs[1]", bad, err)
		}
	}
	want := []engine.Route{{Queue: "other", Task: "here"}, {Queue: "mine", Task: "here"}}
	if d := cmp.Diff(want, l.handled); d != "" {
		t.Errorf("taken (-want +got)\n%s", d)
	}
}

func TestHandleRefuses(t *testing.T) {
	t.Parallel()
	n := open(t, newLoop(0), faena.Options{})
	h := nap.With(func(context.Context, int) (int, error) { return 0, nil })
	wantCode(t, "Handle twice in a call", n.Handle(h, h), faena.CodeConflict)
	handle(t, n, h)
	wantCode(t, "Handle twice", n.Handle(h), faena.CodeConflict)
	wantCode(t, "Handle of nothing", n.Handle(faena.Handler{}), faena.CodeInvalid)
	wantCode(t, "Handle from a wrong queue", n.Handle(childTask.With(same).From("a b")), faena.CodeInvalid)
	_, err := faena.Open(t.Context(), nil, faena.Options{})
	wantCode(t, "Open without engine", err, faena.CodeInvalid)
	_, err = faena.Open(t.Context(), newLoop(0), faena.Options{Slots: -1})
	wantCode(t, "Open with -1 slots", err, faena.CodeInvalid)
}

func TestListAndBulk(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	n := open(t, l, faena.Options{})
	states := []faena.State{faena.Succeeded, faena.Failed, faena.Queued, faena.Failed, faena.Cancelled, faena.Running}
	for i, s := range states {
		id := faena.ID{byte(i + 1)}
		l.known[id] = &engine.Info{ID: id, State: s}
	}
	var got []faena.State
	for in, err := range n.List(t.Context(), faena.Query{Limit: 2}) {
		if err != nil {
			t.Fatalf("List = %v", err)
		}
		got = append(got, in.State)
	}
	if d := cmp.Diff(states, got); d != "" {
		t.Errorf("List (-want +got)\n%s", d)
	}
	if k, err := n.RetryAll(t.Context(), faena.Query{Limit: 1}); k != 2 || err != nil {
		t.Errorf("RetryAll = %d, %v, want 2", k, err)
	}
	if k, err := n.RetryAll(t.Context(), faena.Query{States: states, Limit: 1}); k != 3 || err != nil {
		t.Errorf("RetryAll of all states = %d, %v, want 3", k, err)
	}
	if k, err := n.CancelAll(t.Context(), faena.Query{Limit: 2}); k != 2 || err != nil {
		t.Errorf("CancelAll = %d, %v, want 2", k, err)
	}
}

func TestRunsThatCannotBeRetriedAreLeftOut(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	n := open(t, l, faena.Options{})
	for i := range 20 {
		id := faena.ID{byte(i + 1)}
		l.known[id] = &engine.Info{ID: id, State: faena.Failed}
		if i%7 == 0 {
			l.lost = append(l.lost, id)
		}
	}
	if k, err := n.RetryAll(t.Context(), faena.Query{}); k != 17 || err != nil {
		t.Errorf("RetryAll = %d, %v, want 17 of 20", k, err)
	}
	_, err := n.Retry(t.Context(), faena.ID{2}, l.lost[0])
	wantCode(t, "Retry of one whose input is gone", err, faena.CodeNotFound)
}

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(0)
		l.hold = true
		n := open(t, l, faena.Options{})
		f, err := nap.Go(t.Context(), n, 1)
		if err != nil {
			t.Fatalf("Go = %v", err)
		}
		_, err = n.Output(t.Context(), f.ID())
		wantCode(t, "Output of an open run", err, faena.CodeConflict)
		begun := time.Now()
		go func() {
			time.Sleep(time.Second)
			l.mu.Lock()
			l.known[f.ID()].State = engine.Running
			l.away = 2 // the server is started anew
			l.mu.Unlock()
			time.Sleep(time.Second + 100*time.Millisecond)
			l.end(&engine.Record{ID: f.ID(), State: engine.Succeeded, Output: engine.Value{Data: []byte("1")}})
		}()
		var got []faena.State
		for in, err := range n.Watch(t.Context(), f.ID()) {
			if err != nil {
				t.Fatalf("Watch = %v", err)
			}
			got = append(got, in.State)
		}
		if d := cmp.Diff([]faena.State{faena.Queued, faena.Running, faena.Succeeded}, got); d != "" {
			t.Errorf("Watch (-want +got)\n%s", d)
		}
		if d := time.Since(begun); d != 2100*time.Millisecond {
			t.Errorf("Watch ended after %s, want at the run's end after 2.1s", d)
		}
		if out, err := n.Output(t.Context(), f.ID()); string(out) != "1" || err != nil {
			t.Errorf("Output = %s, %v, want 1", out, err)
		}
		for _, err := range n.Watch(t.Context(), faena.ID{1}) {
			wantCode(t, "Watch of an unknown run", err, faena.CodeNotFound)
		}
	})
}
