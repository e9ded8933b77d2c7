package index

import (
	"fmt"
	"time"
)

// recheckAfter is when rows whose time has passed, but which are held, are looked
// at again.
const recheckAfter = 10 * time.Second

// source is where a queue message stands.
type source struct {
	src   uint8
	queue string
}

// Expire deletes up to limit ended runs whose End and Keep have passed, and gives
// how many they were and those of them that have large values elsewhere. A run whose
// SrcSeq is above held(Src, Queue) stays, because its queue message may still be
// there; it is looked at again after some seconds. held is called without a
// lock, once for each source. The work of a call is bounded: there may be more to
// do as long as it deletes anything.
//
// The runs are gone when Expire returns; a crash before the caller has deleted
// their values leaves these behind.
func (x *Index) Expire(now time.Time, held func(src uint8, queue string) uint64, limit int) (objects []Row, n int, err error) {
	ms := now.UnixMilli()
	chunks, sources, err := x.due(ms, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("look for expired runs in the index: %w", err)
	}
	if len(chunks) == 0 {
		return nil, 0, nil
	}
	for s := range sources {
		sources[s] = held(s.src, s.queue)
	}
	err = x.write(func(w *writer) error {
		e := expiry{w: w, now: ms, left: limit, done: sources}
		for i := range chunks {
			if e.left <= 0 {
				break
			}
			if err := e.chunk(&chunks[i]); err != nil {
				return err
			}
		}
		objects, n = e.objects, limit-e.left
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("expire runs in the index: %w", err)
	}
	return objects, n, nil
}

// due finds chunks with rows whose time has passed, and the sources of these.
func (x *Index) due(now int64, limit int) (chunks []ID, sources map[source]uint64, err error) {
	r, err := x.reader()
	if err != nil {
		return nil, nil, err
	}
	defer x.release(r)
	sources = map[source]uint64{}
	r.dueNow.BindInt64(1, now)
	r.dueNow.BindInt64(2, int64(16+limit/16))
	defer r.dueNow.Reset() //nolint:errcheck // repeats the error of Step
	for n := 0; n < limit; {
		ok, err := r.dueNow.Step()
		if err != nil {
			return nil, nil, classify(err)
		}
		if !ok {
			break
		}
		first, data := chunkColumns(r.dueNow, &r.buf)
		chunks = append(chunks, first)
		classes := *x.classes.Load()
		s := scan(data)
		for s.next() {
			src, due, err := s.expired(classes, now)
			if err != nil {
				return nil, nil, err
			}
			if due {
				n++
				sources[source{src.src, classes[s.class].queue}] = 0
			}
		}
		if s.err != nil {
			return nil, nil, s.err
		}
	}
	return chunks, sources, nil
}

// place is where a row's queue message stands.
type place struct {
	src uint8
	seq uint64
}

// expired tells whether a row's time has passed, and where its message stands.
func (e *entry) expired(classes []class, now int64) (p place, ok bool, err error) {
	if int(e.class) >= len(classes) {
		return p, false, ErrDamaged
	}
	if !classes[e.class].terminal {
		return p, false, nil
	}
	d := body{b: e.body}
	h := d.head(&e.id)
	if h.due(&e.id) > now {
		return p, false, nil
	}
	d.uint() // offset
	p.src = d.byte()
	p.seq = d.uint()
	if d.bad {
		return p, false, ErrDamaged
	}
	return p, true, nil
}

type expiry struct {
	w       *writer
	now     int64
	left    int
	done    map[source]uint64 // sequences up to which messages are gone
	objects []Row
}

// chunk deletes what may go from one chunk.
func (e *expiry) chunk(key *ID) error {
	w := e.w
	c, err := w.load(w.at, key, &w.buf, &w.old)
	if err != nil {
		return err
	}
	if c.n == 0 || c.first != *key { // it was joined with another meanwhile
		return nil
	}
	classes := *w.x.classes.Load()
	w.rows, w.arena = w.rows[:0], w.arena[:0]
	var recheck int64
	for i := range c.rows {
		o := &c.rows[i]
		p, due, err := o.expired(classes, e.now)
		if err != nil {
			return err
		}
		switch {
		case !due:
		case p.seq > e.done[source{p.src, classes[o.class].queue}]:
			recheck = e.now + recheckAfter.Milliseconds()
		case e.left > 0:
			e.left--
			if o.body[0]&hasObjects != 0 {
				r, err := o.row(&classes[o.class])
				if err != nil {
					return err
				}
				e.objects = append(e.objects, r)
			}
			if err := w.drop(o); err != nil {
				return err
			}
			continue
		}
		w.rows = append(w.rows, *o)
	}
	if e.left <= 0 { // there may be more here
		recheck = 0
	}
	_, more, err := w.upper(&c.first)
	if err != nil {
		return err
	}
	return w.store(&c, w.rows, !more, recheck)
}
