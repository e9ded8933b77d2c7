package index

import (
	"cmp"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// writer is the connection that writes, and its state. Index.mu guards it.
type writer struct {
	x *Index
	c *sqlite.Conn

	begin, commit, rollback, own *sqlite.Stmt
	at, before, after            *sqlite.Stmt
	addChunk, putChunk, delChunk *sqlite.Stmt
	addDir, putDir, delDir       *sqlite.Stmt
	addPost, delPost             *sqlite.Stmt
	putLow, delLow               *sqlite.Stmt
	addClass, addCount, putPos   *sqlite.Stmt
	putLink, takeLink, delLink   *sqlite.Stmt

	byKey map[classKey]uint32
	free  []uint32 // numbers of classes
	links int      // rows in table link
	last  int64    // number given to a chunk

	// Of the transaction under way.
	added   []uint32 // classes
	delta   []int64  // rows, by class
	ends    []int64  // rows that became ended ones, by class
	pos     map[string]Position
	linked  int // change of links
	ops     []op
	buf     []byte // the chunk at hand
	leftBuf []byte // and the one before it
	out     []byte
	arena   []byte // bodies of new rows
	old     []entry
	left    []entry
	rows    []entry // of the chunk at hand, as it will be
	was, is summary
}

func newWriter(x *Index, c *sqlite.Conn) (*writer, error) {
	w := &writer{x: x, c: c, byKey: map[classKey]uint32{}, pos: map[string]Position{}}
	return w, prepare(c, map[**sqlite.Stmt]string{
		&w.begin:    "begin immediate",
		&w.commit:   "commit",
		&w.rollback: "rollback",
		&w.own:      "select owner from meta",
		&w.at:       "select first, data, n, due from dir join chunk using(n) where first<=? order by first desc limit 1",
		&w.before:   "select first, data, n, due from dir join chunk using(n) where first<? order by first desc limit 1",
		&w.after:    "select first from dir where first>? order by first limit 1",
		&w.addChunk: "insert into chunk values(?,?)",
		&w.putChunk: "update chunk set data=?2 where n=?1",
		&w.delChunk: "delete from chunk where n=?",
		&w.addDir:   "insert into dir(first, n, due) values(?,?,?)",
		&w.putDir:   "update dir set due=?3 where first=?1",
		&w.delDir:   "delete from dir where first=?",
		&w.addPost:  "insert into post values(?,?,?) on conflict do nothing",
		&w.delPost:  "delete from post where hash=? and class=? and first=?",
		&w.putLow:   "insert into low values(?,?,?) on conflict do update set seq=excluded.seq",
		&w.delLow:   "delete from low where stream=? and first=?",
		&w.addClass: "insert into class values(?,?,?,?,?,0)",
		&w.addCount: "update class set count=count+?2 where n=?1",
		&w.putPos:   "insert into pos values(?,?,?) on conflict do update set seq=excluded.seq, time=excluded.time",
		&w.putLink:  "insert into link values(?,?) on conflict do nothing",
		&w.takeLink: "delete from link where old=? returning new",
		&w.delLink:  "delete from link where old=?",
	})
}

// close syncs all, and only then says so in the database.
func (w *writer) close() error {
	defer w.c.Close() //nolint:errcheck // nothing is left to be written
	taken := w.taken()
	for _, q := range []string{
		"pragma synchronous=full", "pragma wal_checkpoint(truncate)",
		"update meta set closed=(select page_count from pragma_page_count)", "pragma wal_checkpoint(truncate)",
	} {
		if taken != nil {
			return nil // it is another's now
		}
		if err := sqlitex.ExecuteTransient(w.c, q, nil); err != nil {
			return fmt.Errorf("close index: %w", err)
		}
	}
	return nil
}

// taken gives ErrTaken if somebody else opened the index since.
func (w *writer) taken() error {
	if ok, err := w.own.Step(); err != nil || !ok {
		return ErrTaken // cannot be told from it: the row is always there
	}
	owner := w.own.ColumnInt64(0)
	if err := w.own.Reset(); err != nil {
		return classify(err)
	}
	if owner != w.x.owner {
		return ErrTaken
	}
	return nil
}

// write runs f in a transaction. When it or the commit fails nothing has changed.
func (x *Index) write(f func(w *writer) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return ErrClosed
	}
	w := x.w
	w.reset()
	defer func() { clear(w.ops) }() // they hold the caller's rows
	if err := exec(w.begin); err != nil {
		return err
	}
	err := w.taken()
	if err == nil {
		err = f(w)
	}
	if err == nil {
		err = w.finish()
	}
	if err != nil {
		if !w.c.AutocommitEnabled() { // else SQLite has undone it by itself
			if e := exec(w.rollback); e != nil {
				err = fmt.Errorf("%w; undo it: %w", err, e)
			}
		}
		w.dropAdded()
		return err
	}
	x.publish()
	return nil
}

func (w *writer) reset() {
	n := len(*w.x.classes.Load())
	if cap(w.delta) < n {
		w.delta, w.ends = make([]int64, n, 2*n), make([]int64, n, 2*n)
	}
	w.delta, w.ends = w.delta[:n], w.ends[:n]
	clear(w.delta)
	clear(w.ends)
	clear(w.pos)
	w.added, w.linked, w.ops = w.added[:0], 0, w.ops[:0]
}

// finish writes counters and positions, and commits.
func (w *writer) finish() error {
	for n, d := range w.delta {
		if d == 0 {
			continue
		}
		w.addCount.BindInt64(1, int64(n))
		w.addCount.BindInt64(2, d)
		if err := exec(w.addCount); err != nil {
			return err
		}
	}
	for _, p := range w.pos {
		w.putPos.BindText(1, p.Pos)
		w.putPos.BindInt64(2, int64(p.Seq)) //nolint:gosec // read back the same
		w.putPos.BindInt64(3, p.Time)
		if err := exec(w.putPos); err != nil {
			return err
		}
	}
	return exec(w.commit)
}

// publish shows what was committed.
func (x *Index) publish() {
	w := x.w
	w.added = w.added[:0]
	w.links += w.linked
	x.info.Lock()
	defer x.info.Unlock()
	for n, d := range w.delta {
		if n == len(x.counts) {
			x.counts, x.ended = append(x.counts, 0), append(x.ended, 0)
		}
		x.counts[n] += d
		x.ended[n] += w.ends[n]
	}
	for _, p := range w.pos {
		x.positions[p.Pos] = p
	}
}

// chunk is a chunk in the database; n is 0 if it is not there yet.
type chunk struct {
	first ID
	n     int64
	due   int64
	rows  []entry
}

// load reads the chunk that an id belongs into, or would if it were not the
// first. Its rows, which are kept in rows and buf, are valid until the next load.
func (w *writer) load(s *sqlite.Stmt, id *ID, buf *[]byte, rows *[]entry) (c chunk, err error) {
	s.BindBytes(1, id[:])
	ok, err := s.Step()
	if err != nil || !ok {
		s.Reset() //nolint:errcheck,gosec // repeats the error of Step
		return c, classify(err)
	}
	first, data := chunkColumns(s, buf)
	c = chunk{first, s.ColumnInt64(2), never, (*rows)[:0]}
	if !s.ColumnIsNull(3) {
		c.due = s.ColumnInt64(3)
	}
	sc := scan(data)
	for sc.next() {
		c.rows = append(c.rows, sc.entry)
	}
	*rows = c.rows
	if sc.err != nil {
		err = sc.err
	}
	return c, errors.Join(err, classify(s.Reset()))
}

// upper is the key of the chunk after another; ok is false for the last.
func (w *writer) upper(first *ID) (next ID, ok bool, err error) {
	w.after.BindBytes(1, first[:])
	if ok, err = w.after.Step(); err != nil {
		return next, false, classify(err)
	}
	if ok {
		w.after.ColumnBytes(0, next[:])
	}
	return next, ok, classify(w.after.Reset())
}

// store writes new rows of a chunk. It splits it if it is full, and joins it with
// the one before if it has become small. A chunk that holds ended rows past their
// time is looked at again not before recheck.
func (w *writer) store(c *chunk, rows []entry, last bool, recheck int64) error {
	if len(rows) < len(c.rows) {
		done, err := w.join(c, rows, recheck)
		if done || err != nil {
			return err
		}
	}
	for i, part := range split(rows, last, *w.x.classes.Load()) {
		if i > 0 {
			c = &chunk{first: part[0].id}
		}
		if err := w.put(c, part, recheck); err != nil {
			return err
		}
	}
	return nil
}

// join appends rows to the chunk before if both are small.
func (w *writer) join(c *chunk, rows []entry, recheck int64) (done bool, err error) {
	n := size(rows)
	if n == 0 || n > chunkFew {
		return false, nil
	}
	left, err := w.load(w.before, &c.first, &w.leftBuf, &w.left)
	if err != nil || left.n == 0 || n+size(left.rows) > chunkMost*3/4 {
		return false, err
	}
	if err := w.put(c, nil, 0); err != nil {
		return false, err
	}
	w.left = append(w.left, rows...) // it begins with left.rows
	return true, w.put(&left, w.left, recheck)
}

// put writes one chunk and what other tables say of it.
func (w *writer) put(c *chunk, rows []entry, recheck int64) error {
	classes := *w.x.classes.Load()
	if err := w.was.summarise(c.rows, classes); err != nil {
		return err
	}
	if err := w.is.summarise(rows, classes); err != nil {
		return err
	}
	post := func(s *sqlite.Stmt) func(posting) error {
		return func(p posting) error {
			s.BindInt64(1, p.hash)
			s.BindInt64(2, int64(p.class))
			s.BindBytes(3, c.first[:])
			return exec(s)
		}
	}
	if err := diff(w.was.posts, w.is.posts, post(w.delPost), post(w.addPost)); err != nil {
		return err
	}
	if err := w.putLows(&c.first); err != nil {
		return err
	}
	if len(rows) == 0 {
		w.delDir.BindBytes(1, c.first[:])
		w.delChunk.BindInt64(1, c.n)
		return cmp.Or(exec(w.delDir), exec(w.delChunk))
	}
	due := w.is.due
	if due != never {
		due = max(due, recheck)
	}
	data, dir := w.putChunk, w.putDir
	if c.n == 0 {
		w.last++
		c.n, data, dir = w.last, w.addChunk, w.addDir
		dir.BindInt64(2, c.n)
	}
	w.out = seal(w.out, rows)
	data.BindInt64(1, c.n)
	data.BindBytes(2, w.out)
	if err := exec(data); err != nil || dir == w.putDir && due == c.due {
		return err
	}
	dir.BindBytes(1, c.first[:])
	dir.BindInt64(3, due)
	if due == never {
		dir.BindNull(3)
	}
	return exec(dir)
}

func (w *writer) putLows(first *ID) error {
	seq := func(s *summary, stream uint8) (uint64, bool) {
		for _, l := range s.lows {
			if l.stream == stream {
				return l.seq, true
			}
		}
		return 0, false
	}
	for _, l := range w.was.lows {
		if _, ok := seq(&w.is, l.stream); ok {
			continue
		}
		w.delLow.BindInt64(1, int64(l.stream))
		w.delLow.BindBytes(2, first[:])
		if err := exec(w.delLow); err != nil {
			return err
		}
	}
	for _, l := range w.is.lows {
		if was, ok := seq(&w.was, l.stream); ok && was == l.seq {
			continue
		}
		w.putLow.BindInt64(1, int64(l.stream))
		w.putLow.BindBytes(2, first[:])
		w.putLow.BindInt64(3, int64(l.seq)) //nolint:gosec // read back the same
		if err := exec(w.putLow); err != nil {
			return err
		}
	}
	return nil
}
