package embedded_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faena-dev/faena/engine"
)

// A worker had read the end of a run that it was about to start. A power cut took
// that end: the run's message was acknowledged, and nobody executed it.
func TestEndIsLostBeforeAStart(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.close()
	failed := make(chan struct{}, 1)
	var n atomic.Int32
	w, err := m.client.Work(engine.WorkOptions{Slots: 2, Exec: func(context.Context, *engine.Attempt) engine.Outcome {
		if n.Add(1) == 1 {
			failed <- struct{}{}
			return engine.Outcome{Failure: &engine.Failure{Code: engine.CodeFailed, Message: "once"}}
		}
		return engine.Outcome{Output: []byte(`"second"`)}
	}})
	if err != nil {
		t.Fatalf("Work = %v", err)
	}
	if err := w.Handle(t.Context(), "q", "quick"); err != nil {
		t.Fatalf("Handle = %v", err)
	}
	conn, err := m.owner.Conn()
	if err != nil {
		t.Fatal(err)
	}
	r, end := m.run("quick"), make(chan *engine.Record, 2)
	r.Retry = engine.Retry{Attempts: 3, Base: 900 * time.Millisecond} // it waits in the worker's hand
	m.client.Watch(r.ID, engine.WaiterFunc(func(r *engine.Record) { end <- r }))
	if err := m.client.Submit(t.Context(), []engine.Run{r}); err != nil {
		t.Fatalf("Submit = %v", err)
	}
	<-failed
	again := m.after(1200 * time.Millisecond)
	m.freeze()
	rec := engine.Record{ID: r.ID, State: engine.Cancelled, Queue: "q", Task: "quick", Rev: 1, Attempt: 1, Keep: 3600}
	if err := conn.Publish("faena.log.0", engine.AppendRecord(nil, &rec)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := conn.FlushWithContext(ctx); err != nil {
		t.Fatal(err)
	}
	<-again
	late := n.Load() != 1
	conn.Close()
	m.cut()
	if late {
		t.Skip("the machine was too slow to store an end before the second attempt")
	}
	m.want(r.ID, end, `"second"`)
}
