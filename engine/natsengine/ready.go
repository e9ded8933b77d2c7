package natsengine

import "slices"

// ready holds the runs that wait for a slot here. Those of one queue wait in
// their order, behind those of it that may have begun elsewhere: somebody has waited
// for these since. The queues take turns, so that one with much to do does not keep
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

// lane holds the runs of a queue.
type lane struct {
	n     int
	begun ring // those that may have begun before
	rest  ring
}

func (l *lane) push(it *item) {
	l.n++
	if it.again {
		l.begun.push(it)
	} else {
		l.rest.push(it)
	}
}

// first is the run that pop takes.
func (l *lane) first() *item {
	if l.begun.n > 0 {
		return l.begun.buf[l.begun.head]
	}
	return l.rest.buf[l.rest.head]
}

func (l *lane) pop() *item {
	l.n--
	if l.begun.n > 0 {
		return l.begun.pop()
	}
	return l.rest.pop()
}

// ring is a ring of runs.
type ring struct {
	buf  []*item
	head int
	n    int
}

func (r *ring) push(it *item) {
	if r.n == len(r.buf) {
		grown := make([]*item, max(64, 2*r.n))
		for i := range r.n {
			grown[i] = r.buf[(r.head+i)%len(r.buf)]
		}
		r.buf, r.head = grown, 0
	}
	r.buf[(r.head+r.n)%len(r.buf)] = it
	r.n++
}

func (r *ring) pop() *item {
	it := r.buf[r.head]
	r.buf[r.head] = nil
	r.head = (r.head + 1) % len(r.buf)
	r.n--
	return it
}
