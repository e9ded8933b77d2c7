package index

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"time"
)

// Query selects runs. Zero fields select all.
type Query struct {
	States      []uint8 // any of them
	Queue, Task string
	Tags        []Tag     // all of them
	From, To    time.Time // made at or after From and before To, to the millisecond
	Retried     bool      // runs that were retried, too
	OldestFirst bool
	Order       Order
	Keep        func(*Row) bool // which rows count, nil for all
	Cursor      string          // what List gave with the page before
	Limit       int             // default 50; more than 500 are taken as 500
}

// Limits of pages.
const (
	limitDefault = 50
	limitMost    = 500
)

// List gives a page of runs, newest first unless asked otherwise; ties of an Order
// come oldest first. Next is the cursor of the next page; that is empty when there
// is none. Pages do not overlap and leave nothing out that was there when the first
// was asked for, whatever is written between them.
func (x *Index) List(q Query) (rows []Row, next string, err error) {
	l := lister{x: x, q: &q, limit: min(q.Limit, limitMost)}
	if l.limit <= 0 {
		l.limit = limitDefault
	}
	if err := l.bounds(); err != nil {
		return nil, "", err
	}
	if q.Order != ByID {
		if q.Cursor != "" {
			return nil, "", errOnePage
		}
		l.ranking = newRanking(&q, l.limit)
	}
	r, err := x.reader()
	if err != nil {
		return nil, "", err
	}
	defer x.release(r)
	l.r = r
	if err := l.run(); err != nil {
		return nil, "", fmt.Errorf("list runs of the index: %w", err)
	}
	if l.ranking != nil {
		return l.ranking.cut(), "", nil
	}
	if len(l.rows) > l.limit {
		l.rows = l.rows[:l.limit]
		id := l.rows[l.limit-1].ID
		next = hex.EncodeToString(id[:])
	}
	return l.rows, next, nil
}

// lister makes one page.
type lister struct {
	x      *Index
	r      *reader
	q      *Query
	limit  int
	lo, hi ID // bounds, both included
	none   bool

	classes []class
	match   []bool // by class
	paths   []path
	hashes  []int64
	found   []entry
	rows    []Row
	ranking *ranking // nil by id
}

// path finds chunks that hold rows with one tag (or any) in one of the classes.
type path struct {
	hash int64
	at   []spot
}

// spot is the next chunk of a path for one class.
type spot struct {
	class uint32
	state spotState
	first ID
}

type spotState uint8

const (
	unknown spotState = iota
	known
	exhausted
)

// bounds computes the range of ids.
func (l *lister) bounds() error {
	for i := range l.hi {
		l.hi[i] = math.MaxUint8
	}
	if !l.q.From.IsZero() {
		l.lo = firstID(l.q.From)
	}
	ok := true
	if !l.q.To.IsZero() {
		l.hi, ok = step(firstID(l.q.To), false)
	}
	if l.q.Cursor != "" && ok {
		var id ID
		if n, err := hex.Decode(id[:], []byte(l.q.Cursor[:min(len(l.q.Cursor), 32)])); err != nil || n != 16 || len(l.q.Cursor) != 32 {
			return fmt.Errorf("list runs: %q is not a cursor: use the one that came with the page before", l.q.Cursor)
		}
		if id, ok = step(id, l.q.OldestFirst); l.q.OldestFirst {
			l.lo = later(l.lo, id)
		} else if compareIDs(id, l.hi) < 0 {
			l.hi = id
		}
	}
	l.none = !ok || compareIDs(l.lo, l.hi) > 0
	return nil
}

func later(a, b ID) ID {
	if compareIDs(a, b) < 0 {
		return b
	}
	return a
}

// firstID is the lowest id of a time.
func firstID(t time.Time) (id ID) {
	ms := min(max(t.UnixMilli(), 0), 1<<48-1)
	binary.BigEndian.PutUint64(id[:], uint64(ms)<<16)
	return id
}

// run reads in one snapshot, chunk by chunk, until the page and one more row are
// there.
func (l *lister) run() (err error) {
	if l.none {
		return nil
	}
	if err := exec(l.r.begin); err != nil {
		return err
	}
	defer func() {
		if e := exec(l.r.commit); err == nil {
			err = e
		}
	}()
	if _, err := l.r.peek.Step(); err != nil { // takes the snapshot
		return classify(err)
	}
	if err := l.r.peek.Reset(); err != nil {
		return classify(err)
	}
	l.classes = *l.x.classes.Load() // after it: names all classes in it
	if !l.plan() {
		return nil
	}
	at, err := l.start()
	if err != nil {
		return err
	}
	for len(l.rows) <= l.limit {
		first, data, ok, err := l.chunk(at)
		if err != nil || !ok {
			return err
		}
		if err := l.take(data); err != nil {
			return err
		}
		if at, ok = step(first, l.q.OldestFirst); !ok || l.beyond(at) {
			return nil
		}
	}
	return nil
}

// beyond tells whether ids from this one on, in the direction we go, are out of
// range.
func (l *lister) beyond(id ID) bool {
	if l.q.OldestFirst {
		return compareIDs(id, l.hi) > 0
	}
	return compareIDs(id, l.lo) < 0
}

// plan finds which classes match and by which way chunks are found; false if
// nothing can match.
func (l *lister) plan() bool {
	l.match = make([]bool, len(l.classes))
	some, all := false, true
	for i := range l.classes {
		c := &l.classes[i]
		l.match[i] = c.live && (len(l.q.States) == 0 || slices.Contains(l.q.States, c.state)) &&
			(l.q.Queue == "" || l.q.Queue == c.queue) && (l.q.Task == "" || l.q.Task == c.task) &&
			(l.q.Retried || !c.retried)
		some = some || l.match[i]
		all = all && (l.match[i] || !c.live)
	}
	for _, t := range l.q.Tags {
		l.hashes = append(l.hashes, hash(t.Key, t.Value))
	}
	hashes := l.hashes
	if len(hashes) == 0 && !all {
		hashes = []int64{0}
	}
	for _, h := range hashes {
		p := path{hash: h}
		for i, ok := range l.match {
			if ok {
				p.at = append(p.at, spot{class: uint32(i)})
			}
		}
		l.paths = append(l.paths, p)
	}
	return some
}

// start is the key from which chunks are looked for.
func (l *lister) start() (ID, error) {
	if !l.q.OldestFirst {
		return l.hi, nil
	}
	first, _, ok, err := l.r.chunk(l.r.at, &l.lo)
	if !ok {
		first = l.lo
	}
	return first, err
}

// chunk gives the first chunk at or behind a key that may hold what we look for.
func (l *lister) chunk(at ID) (first ID, data []byte, ok bool, err error) {
	for i := 0; i < len(l.paths); {
		key, ok, err := l.seek(&l.paths[i], &at)
		if err != nil || !ok || l.q.OldestFirst && l.beyond(key) { // a chunk from below lo may reach it
			return first, nil, false, err
		}
		i++
		if key != at && len(l.paths) > 1 { // the others have to come along
			at, i = key, 0
		}
		at = key
	}
	if l.q.OldestFirst {
		return l.r.chunk(l.r.from, &at)
	}
	return l.r.chunk(l.r.at, &at)
}

// seek is the first chunk of a path at or behind a key.
func (l *lister) seek(p *path, at *ID) (best ID, ok bool, err error) {
	for i := range p.at {
		s := &p.at[i]
		if s.state == unknown || s.state == known && l.before(s.first, *at) {
			if err := l.find(p.hash, s, at); err != nil {
				return best, false, err
			}
		}
		if s.state == known && (!ok || l.before(s.first, best)) {
			best, ok = s.first, true
		}
	}
	return best, ok, nil
}

// before tells whether we come by a sooner than by b.
func (l *lister) before(a, b ID) bool {
	if l.q.OldestFirst {
		return compareIDs(a, b) < 0
	}
	return compareIDs(a, b) > 0
}

func (l *lister) find(hash int64, s *spot, at *ID) error {
	stmt := l.r.postDown
	if l.q.OldestFirst {
		stmt = l.r.postUp
	}
	stmt.BindInt64(1, hash)
	stmt.BindInt64(2, int64(s.class))
	stmt.BindBytes(3, at[:])
	ok, err := stmt.Step()
	if err != nil {
		return classify(err)
	}
	s.state = exhausted
	if ok {
		s.state = known
		stmt.ColumnBytes(0, s.first[:])
	}
	return classify(stmt.Reset())
}

// take adds a chunk's rows that match.
func (l *lister) take(data []byte) error {
	l.found = l.found[:0]
	s := scan(data)
	for s.next() {
		if int(s.class) >= len(l.match) {
			return ErrDamaged
		}
		if !l.match[s.class] || compareIDs(s.id, l.lo) < 0 || compareIDs(s.id, l.hi) > 0 || !s.tagged(l.q.Tags) {
			continue
		}
		if l.ranking == nil {
			l.found = append(l.found, s.entry)
		} else if err := l.ranking.add(&s.entry, &l.classes[s.class]); err != nil {
			return err
		}
	}
	if s.err != nil {
		return s.err
	}
	if !l.q.OldestFirst {
		slices.Reverse(l.found)
	}
	for i := range l.found {
		if len(l.rows) > l.limit {
			break
		}
		r, err := l.found[i].row(&l.classes[l.found[i].class])
		if err != nil {
			return err
		}
		if l.q.Keep == nil || l.q.Keep(&r) {
			l.rows = append(l.rows, r)
		}
	}
	return nil
}

// tagged tells whether an entry has all these tags.
func (e *entry) tagged(tags []Tag) bool {
	for i := range tags {
		d := body{b: e.body}
		has := false
		if d.skip(d.head(&e.id)) {
			d.eachTag(func(k, v []byte) bool {
				has = string(k) == tags[i].Key && string(v) == tags[i].Value
				return !has
			})
		}
		if !has {
			return false
		}
	}
	return true
}
