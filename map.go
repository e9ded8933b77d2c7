package faena

import (
	"context"
	"iter"
	"time"
)

// Result is one run of a Map.
type Result[In, Out any] struct {
	Index int // of the input in its sequence, from 0
	ID    ID  // of the run; zero if the input could not be submitted
	In    In  // the input itself
	Out   Out // if there was no error
}

// gather is how long Map collects inputs before it submits what it has: those
// that are there at once go together, a slow sequence is not waited for.
const gather = time.Millisecond

// Map submits a run for each input and yields the results as the runs end, each
// with its run's error, which does not end the iteration. At most [Window] runs
// are under way, and inputs are taken from the sequence only as there is room,
// in the caller's goroutine: results wait while the sequence is producing. The
// end of the iteration, by break, panic or ctx, cancels what is under way;
// inside a handler that is interrupted or timed out it is left for the run's
// next attempt, and cancelled if the handler ends the run after all. If submitting fails, the inputs concerned and those under way are
// yielded, and then the iteration ends. It waits as [Future.Get] does.
func (t Task[In, Out]) Map(ctx context.Context, node *Node, inputs iter.Seq[In], opts ...Option) iter.Seq2[Result[In, Out], error] {
	return func(yield func(Result[In, Out], error) bool) {
		s, err := t.settings("map", opts)
		if err == nil && s.named != "" {
			err = invalid("map "+t.name, "Named is for a single run")
		}
		switch {
		case err != nil:
		case node.unopened():
			err = zeroNode("map " + t.name)
		case inputs == nil:
			err = invalid("map "+t.name, "the sequence of inputs is nil")
		}
		if err != nil {
			yield(Result[In, Out]{Index: -1}, err)
			return
		}
		next, stop := iter.Pull(inputs)
		defer stop()
		m := &mapping[In, Out]{task: t.name, node: node, set: &s, next: next, box: newInbox(), open: map[int]*mapped[In, Out]{}}
		defer m.cancel(ctx)
		m.run(ctx, yield)
	}
}

// mapping is one iteration of Map.
type mapping[In, Out any] struct {
	task string
	node *Node
	set  *settings
	next func() (In, bool)
	end  bool // no more inputs
	n    int  // inputs taken
	box  *inbox
	open map[int]*mapped[In, Out] // by index: submitted and not yielded
	bad  []rejected[In, Out]
}

type mapped[In, Out any] struct {
	Future[Out]
	index int
	in    In
}

type rejected[In, Out any] struct {
	r   Result[In, Out]
	err error
}

func (m *mapping[In, Out]) run(ctx context.Context, yield func(Result[In, Out], error) bool) {
	var buf []int
	for {
		m.fill(ctx)
		for _, b := range m.bad {
			if !yield(b.r, b.err) {
				return
			}
		}
		m.bad = m.bad[:0]
		if len(m.open) == 0 {
			if m.end {
				return
			}
			continue
		}
		var err error
		if buf, err = m.box.wait(ctx, m.node, buf); err != nil {
			for i, f := range m.open {
				if !yield(Result[In, Out]{Index: i, ID: f.id, In: f.in}, err) {
					return
				}
			}
			return
		}
		for _, i := range buf {
			f := m.open[i]
			delete(m.open, i)
			r := Result[In, Out]{Index: i, ID: f.id, In: f.in}
			r.Out, err = f.Get(ctx)
			if !yield(r, err) {
				return
			}
		}
	}
}

// fill takes inputs until the window is full and submits them, together as far
// as they come at once.
func (m *mapping[In, Out]) fill(ctx context.Context) {
	for !m.end && len(m.open) < m.set.window && len(m.bad) < m.set.window {
		o := order{task: m.task, set: m.set}
		var taken []*mapped[In, Out]
		begun := time.Now()
		for len(m.open)+len(taken) < m.set.window && len(m.bad) < m.set.window && (len(taken) == 0 || time.Since(begun) < gather) {
			in, ok := m.next()
			if !ok {
				m.end = true
				break
			}
			data, err := encodeInput(m.task, in)
			if err == nil {
				err = m.node.checkInput(m.task, data)
			}
			if err != nil {
				m.bad = append(m.bad, rejected[In, Out]{Result[In, Out]{Index: m.n, In: in}, err})
				m.n++
				continue
			}
			f := &mapped[In, Out]{index: m.n, in: in}
			m.n++
			taken = append(taken, f)
			o.inputs, o.futures = append(o.inputs, data), append(o.futures, &f.future)
		}
		if len(taken) == 0 {
			continue
		}
		if err := m.node.submit(ctx, &o); err != nil {
			m.end = true
			for _, f := range taken {
				m.bad = append(m.bad, rejected[In, Out]{Result[In, Out]{Index: f.index, In: f.in}, err})
			}
			return
		}
		for _, f := range taken {
			m.open[f.index] = f
			f.subscribe(m.box, f.index)
		}
	}
}

// cancel ends what is under way when the iteration ends.
func (m *mapping[In, Out]) cancel(ctx context.Context) {
	if len(m.open) == 0 || m.node.isClosed() {
		return
	}
	ids := make([]ID, 0, len(m.open))
	for _, f := range m.open {
		ids = append(ids, f.id)
	}
	if a := attemptOf(ctx); a != nil && a.follows() { //nolint:contextcheck // an attempt is a context, the one that ends it
		a.kids.leave(ids) // the next attempt finds them again
		return
	}
	m.node.abandon(context.WithoutCancel(ctx), ids)
}
