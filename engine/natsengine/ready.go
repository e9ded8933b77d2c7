package natsengine

import "slices"

// ready holds the runs that wait for a slot here. Those of one queue wait in
// their order; the queues take turns, so that one with much to do does not keep
// the others waiting.
type ready struct {
	n     int
	lanes map[string]*lane // by queue
	turns []*lane          // those that hold runs, in a circle
	next  int              // whose turn it is
}

func (r *ready) push(it *item) {
	l := r.lanes[it.run.Queue]
	if l == nil {
		if r.lanes == nil {
			r.lanes = map[string]*lane{}
		}
		l = &lane{}
		r.lanes[it.run.Queue] = l
	}
	if l.n == 0 { // its turn comes last
		r.turns = slices.Insert(r.turns, r.next, l)
		r.next = (r.next + 1) % len(r.turns)
	}
	l.push(it)
	r.n++
}

// of is how many runs of a queue there are.
func (r *ready) of(queue string) int {
	if l := r.lanes[queue]; l != nil {
		return l.n
	}
	return 0
}

// pop takes the next run; there has to be one.
func (r *ready) pop() *item {
	l := r.turns[r.next]
	it := r.take(l)
	if l.n > 0 { // else take has put the next one in its place
		r.next = (r.next + 1) % len(r.turns)
	}
	return it
}

// take takes the first run of a lane out of its turn.
func (r *ready) take(l *lane) *item {
	it := l.pop()
	r.n--
	if l.n == 0 {
		i := slices.Index(r.turns, l)
		r.turns = slices.Delete(r.turns, i, i+1)
		if i < r.next {
			r.next--
		}
		if r.next >= len(r.turns) {
			r.next = 0
		}
	}
	return it
}

// lane is a ring of runs.
type lane struct {
	buf  []*item
	head int
	n    int
}

func (l *lane) push(it *item) {
	if l.n == len(l.buf) {
		grown := make([]*item, max(64, 2*l.n))
		for i := range l.n {
			grown[i] = l.buf[(l.head+i)%len(l.buf)]
		}
		l.buf, l.head = grown, 0
	}
	l.buf[(l.head+l.n)%len(l.buf)] = it
	l.n++
}

// first is the run that pop takes.
func (l *lane) first() *item { return l.buf[l.head] }

func (l *lane) pop() *item {
	it := l.buf[l.head]
	l.buf[l.head] = nil
	l.head = (l.head + 1) % len(l.buf)
	l.n--
	return it
}
