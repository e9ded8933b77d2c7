package index

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Change is what one message of a stream says of runs. Pos names the stream, Seq
// and Time (unix ns) are the message's.
type Change struct {
	Pos  string
	Seq  uint64
	Time int64
	Rows []Row

	Marks []Mark
}

// Mark says by which run an ended one is repeated, as the RetryOf of its row does.
type Mark struct{ Of, By ID }

// Applied says what became of the rows of changes.
type Applied struct {
	Rows    int  // of changes that were not skipped
	Void    int  // ended rows of runs that had ended before: the first one counts
	Late    int  // open rows of runs that had ended, or of which a newer row is there
	Skipped int  // changes at or before the position of their stream
	Over    []ID // of the late ones those of runs that had ended
}

// op is one thing to do with a row. Ops are sorted by id, then by the order they
// were given in.
type op struct {
	hi, lo uint64 // the id
	n      int
	kind   opKind
	row    *Row
}

type opKind uint8

const (
	opRow  opKind = iota
	opMark        // the run is repeated by row
	opDrop
)

func (w *writer) op(kind opKind, id *ID, row *Row) {
	w.ops = append(w.ops, op{binary.BigEndian.Uint64(id[:]), binary.BigEndian.Uint64(id[8:]), len(w.ops), kind, row})
}

func (o *op) id() (id ID) {
	binary.BigEndian.PutUint64(id[:], o.hi)
	binary.BigEndian.PutUint64(id[8:], o.lo)
	return id
}

// Apply writes changes in one transaction, with the positions of their streams.
// When it fails nothing has changed, and the same changes can be applied again.
// Changes of one stream must come in its order; streams may come in any order.
//
// Of a run's ended rows the first one applied counts for ever. Of its open rows
// the one with the highest Rev counts, until it has ended.
func (x *Index) Apply(changes []Change) (Applied, error) {
	var a Applied
	n := 0
	for i := range changes {
		n += len(changes[i].Rows)
	}
	err := x.write(func(w *writer) error {
		w.ops = slices.Grow(w.ops, n)
		for i := range changes {
			c := &changes[i]
			at, ok := w.pos[c.Pos]
			if !ok {
				at, ok = x.positions[c.Pos] // written under mu only
			}
			if ok && c.Seq <= at.Seq { // the first may be 0: a mark
				a.Skipped++
				continue
			}
			w.pos[c.Pos] = Position{c.Pos, c.Seq, c.Time}
			a.Rows += len(c.Rows)
			for j := range c.Rows {
				r := &c.Rows[j]
				w.op(opRow, &r.ID, r)
				if r.RetryOf != (ID{}) {
					w.op(opMark, &r.RetryOf, r)
				}
			}
			for j := range c.Marks {
				m := &c.Marks[j]
				w.op(opMark, &m.Of, &Row{ID: m.By})
			}
		}
		return w.run(&a)
	})
	if err != nil {
		return Applied{}, fmt.Errorf("write %d changes to the index: %w", len(changes), err)
	}
	return a, nil
}

// Delete takes runs out of the index.
func (x *Index) Delete(ids []ID) error {
	err := x.write(func(w *writer) error {
		for i := range ids {
			w.op(opDrop, &ids[i], nil)
		}
		return w.run(new(Applied))
	})
	if err != nil {
		return fmt.Errorf("delete %d runs from the index: %w", len(ids), err)
	}
	return nil
}

func compareOps(a, b op) int {
	if a.hi != b.hi {
		return cmp.Compare(a.hi, b.hi)
	}
	if a.lo != b.lo {
		return cmp.Compare(a.lo, b.lo)
	}
	return a.n - b.n
}

// run does the ops, chunk by chunk.
func (w *writer) run(a *Applied) error {
	if !slices.IsSortedFunc(w.ops, compareOps) {
		slices.SortFunc(w.ops, compareOps)
	}
	for ops := w.ops; len(ops) > 0; {
		id := ops[0].id()
		c, err := w.load(w.at, &id, &w.buf, &w.old)
		if err != nil {
			return err
		}
		next, more, err := w.upper(&c.first)
		if err != nil {
			return err
		}
		n := len(ops)
		if more {
			hi, lo := binary.BigEndian.Uint64(next[:]), binary.BigEndian.Uint64(next[8:])
			n, _ = slices.BinarySearchFunc(ops, 0, func(o op, _ int) int {
				if o.hi < hi || o.hi == hi && o.lo < lo {
					return -1
				}
				return 1
			})
		}
		changed, err := w.merge(c.rows, ops[:n], a)
		if err != nil {
			return err
		}
		if changed {
			if err := w.store(&c, w.rows, !more, 0); err != nil {
				return err
			}
		}
		ops = ops[n:]
	}
	return nil
}

// merge makes rows of old ones and ops.
func (w *writer) merge(old []entry, ops []op, a *Applied) (changed bool, err error) {
	w.rows, w.arena = w.rows[:0], w.arena[:0]
	for len(ops) > 0 {
		id := ops[0].id()
		n := 1
		for n < len(ops) && ops[n].hi == ops[0].hi && ops[n].lo == ops[0].lo {
			n++
		}
		for len(old) > 0 && compareIDs(old[0].id, id) < 0 {
			w.rows = append(w.rows, old[0])
			old = old[1:]
		}
		var cur *entry
		if len(old) > 0 && old[0].id == id {
			cur, old = &old[0], old[1:]
		}
		did, err := w.fold(cur, &id, ops[:n], a)
		if err != nil {
			return false, err
		}
		changed = changed || did
		ops = ops[n:]
	}
	w.rows = append(w.rows, old...)
	return changed, nil
}

// fold appends what ops make of one row, if anything is left of it.
func (w *writer) fold(cur *entry, id *ID, ops []op, a *Applied) (changed bool, err error) {
	classes := *w.x.classes.Load()
	var (
		win     *Row // else cur counts
		by      *ID  // the run that repeats it
		there   = cur != nil
		ended   = there && classes[cur.class].terminal
		objects bool
		rev     uint32
	)
	if there {
		d := body{b: cur.body}
		rev = d.head(id).rev
	}
	for i := range ops {
		r := ops[i].row
		switch ops[i].kind {
		case opDrop:
			there, ended, win, objects = false, false, nil, false
			continue
		case opMark:
			if by == nil {
				by = &r.ID
			}
			continue
		case opRow:
		}
		objects = objects || r.Objects
		terminal := w.x.terminal(r.State)
		switch {
		case ended && terminal:
			a.Void++
		case ended:
			a.Late++
			a.Over = append(a.Over, *id)
		case there && !terminal && r.Rev <= rev:
			a.Late++
		default:
			win, there, ended, rev = r, true, terminal, r.Rev
		}
	}
	if by, err = w.link(id, by, there && ended, win != nil); err != nil {
		return false, err
	}
	if !there {
		return cur != nil, w.drop(cur)
	}
	return w.keep(cur, win, objects, by)
}

// link keeps that a run is repeated until it has ended here, and gives by which
// one it is when it has.
func (w *writer) link(id, by *ID, ended, isNew bool) (*ID, error) {
	if !ended {
		if by == nil {
			return nil, nil //nolint:nilnil // no link, no error
		}
		w.putLink.BindBytes(1, id[:])
		w.putLink.BindBytes(2, by[:])
		err := exec(w.putLink)
		w.linked += w.c.Changes()
		return nil, err
	}
	if !isNew || w.links+w.linked == 0 {
		return by, nil
	}
	w.takeLink.BindBytes(1, id[:])
	ok, err := w.takeLink.Step()
	if err != nil {
		return nil, classify(err)
	}
	if ok {
		by = new(ID)
		w.takeLink.ColumnBytes(0, by[:])
		w.linked--
	}
	return by, classify(w.takeLink.Reset())
}

// drop counts a row out.
func (w *writer) drop(e *entry) error {
	if e == nil {
		return nil
	}
	w.delta[e.class]--
	if e.body[0]&hasRetryOf == 0 {
		return nil
	}
	r, err := e.row(&class{})
	if err != nil {
		return err
	}
	w.delLink.BindBytes(1, r.RetryOf[:])
	err = exec(w.delLink)
	w.linked -= w.c.Changes()
	return err
}

// keep appends a row: the new one if there is one, else the old one, changed.
func (w *writer) keep(cur *entry, win *Row, objects bool, by *ID) (changed bool, err error) {
	e := entry{}
	var flags byte
	ends := win != nil && w.x.terminal(win.State)
	switch {
	case win == nil:
		had := cur.body[0]
		if objects = objects && had&hasObjects == 0; !objects && (by == nil || had&hasRetriedBy != 0) {
			w.rows = append(w.rows, *cur)
			return false, nil
		}
		c := (*w.x.classes.Load())[cur.class]
		r, err := cur.row(&c)
		if err != nil {
			return false, err
		}
		if r.RetriedBy != (ID{}) {
			by = &r.RetriedBy
		}
		win = &r
	case cur != nil:
		flags = cur.body[0] & hasObjects
	}
	if objects {
		flags |= hasObjects
	}
	var none ID
	if by == nil {
		by = &none
	}
	e.id = win.ID
	e.class, err = w.class(classKey{win.State, *by != none, win.Queue, win.Task})
	if err != nil {
		return false, err
	}
	if cur != nil {
		w.delta[cur.class]--
	}
	w.delta[e.class]++
	if ends {
		w.ends[e.class]++
	}
	from := len(w.arena)
	w.arena = appendBody(w.arena, win, flags, by)
	e.body = w.arena[from:len(w.arena):len(w.arena)]
	w.rows = append(w.rows, e)
	return true, nil
}
