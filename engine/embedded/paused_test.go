package embedded_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
)

// parked is an engine with a worker, and what looks at the consumer of its parked
// runs.
type parked struct {
	t   *testing.T
	eng *embedded.Engine
	w   engine.Worker
	js  jetstream.JetStream
}

// The consumer of parked runs of queue q and task t.
const parkStream, parkConsumer = "FAENA_DELAYED", "park_q_t"

// withParked runs fn in a bubble.
func withParked(t *testing.T, fn func(p *parked)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		t.Helper()
		eng, err := embedded.Open(t.Context(), embedded.Options{Dir: t.TempDir(), Durability: embedded.Fast})
		if err != nil {
			t.Fatal(err)
		}
		defer eng.Close() //nolint:errcheck // the test is over
		js, done := streams(t, eng)
		defer done()
		p := &parked{t: t, eng: eng, js: js}
		p.handle()
		fn(p)
	})
}

// handle has a new worker handle the task.
func (p *parked) handle() {
	p.t.Helper()
	var err error
	if p.w, err = p.eng.Work(engine.WorkOptions{Slots: 1, Exec: nothing}); err != nil {
		p.t.Fatal(err)
	}
	if err := p.w.Handle(p.t.Context(), "q", "t"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *parked) paused() bool {
	p.t.Helper()
	c, err := p.js.Consumer(p.t.Context(), parkStream, parkConsumer)
	if err != nil {
		p.t.Fatal(err)
	}
	return c.CachedInfo().Paused
}

// Consumers of parked runs were delivering in a paused queue.
func TestPauseHoldsForParkedRuns(t *testing.T) {
	t.Parallel()
	withParked(t, func(p *parked) {
		for _, c := range []struct {
			set  func() error
			want bool
		}{
			{func() error { return p.eng.Pause(p.t.Context(), "q") }, true},
			{func() error { return p.eng.Resume(p.t.Context(), "q") }, false},
		} {
			if err := c.set(); err != nil || p.paused() != c.want {
				p.t.Errorf("paused %v, %v, want %v", p.paused(), err, c.want)
			}
		}
	})
}

// Directories of programs before have consumers of parked runs that a handler
// made in a pause, and no resumption reached: they stayed paused for ever.
func TestConsumerThatAPauseLeftGoesOn(t *testing.T) {
	t.Parallel()
	for name, heal := range map[string]func(*parked) error{
		"when the queue is resumed": func(p *parked) error { return p.eng.Resume(p.t.Context(), "q") },
		"when its task is handled": func(p *parked) error {
			err := p.w.Stop(p.t.Context())
			p.handle()
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withParked(t, func(p *parked) {
				if _, err := p.js.PauseConsumer(p.t.Context(), parkStream, parkConsumer, time.Now().AddDate(100, 0, 0)); err != nil {
					p.t.Fatal(err)
				}
				if err := heal(p); err != nil || p.paused() {
					p.t.Errorf("paused %v, %v, although the queue is not", p.paused(), err)
				}
			})
		})
	}
}
