package index

import (
	"fmt"

	"zombiezen.com/go/sqlite"
)

// reader is a connection that reads, for one caller at a time.
type reader struct {
	cache int
	c     *sqlite.Conn
	buf   []byte // of the chunk read last

	begin, commit, peek *sqlite.Stmt
	at, from            *sqlite.Stmt
	postDown, postUp    *sqlite.Stmt
	lowest, dueNow      *sqlite.Stmt
}

func (r *reader) open() bool { return r.c != nil }

func (r *reader) close() {
	r.c.Close() //nolint:errcheck,gosec // nothing was written
	r.c = nil
}

// reader takes one from the pool. It must be released.
func (x *Index) reader() (*reader, error) {
	r, ok := <-x.pool
	if !ok {
		return nil, ErrClosed
	}
	if r.open() {
		return r, nil
	}
	if err := r.dial(x.path); err != nil {
		x.pool <- r
		return nil, fmt.Errorf("open index %s: %w", x.path, advise(err))
	}
	return r, nil
}

func (x *Index) release(r *reader) { x.pool <- r }

func (r *reader) dial(path string) (err error) {
	if r.c, err = connect(path, r.cache, 0); err != nil {
		r.c = nil
		return err
	}
	err = prepare(r.c, map[**sqlite.Stmt]string{
		&r.begin:    "begin",
		&r.commit:   "commit",
		&r.peek:     "select 1 from meta",
		&r.at:       "select first, data from dir join chunk using(n) where first<=? order by first desc limit 1",
		&r.from:     "select first, data from dir join chunk using(n) where first>=? order by first limit 1",
		&r.postDown: "select first from post where hash=? and class=? and first<=? order by first desc limit 1",
		&r.postUp:   "select first from post where hash=? and class=? and first>=? order by first limit 1",
		&r.lowest:   "select seq from low where stream=? order by seq limit 1",
		&r.dueNow:   "select first, data from dir join chunk using(n) where due<=? order by due limit ?",
	})
	if err != nil {
		r.close()
	}
	return err
}

func prepare(c *sqlite.Conn, stmts map[**sqlite.Stmt]string) error {
	for s, q := range stmts {
		var err error
		if *s, err = c.Prepare(q); err != nil {
			return classify(fmt.Errorf("prepare %q: %w", q, err))
		}
	}
	return nil
}

// exec runs a statement that gives no row.
func exec(s *sqlite.Stmt) error {
	if _, err := s.Step(); err != nil {
		return classify(err)
	}
	return classify(s.Reset())
}

// chunk runs a statement that gives a chunk's key and data. The data is valid
// until the next.
func (r *reader) chunk(s *sqlite.Stmt, id *ID) (first ID, data []byte, ok bool, err error) {
	s.BindBytes(1, id[:])
	if ok, err = s.Step(); err != nil || !ok {
		s.Reset() //nolint:errcheck,gosec // repeats the error of Step
		return first, nil, false, classify(err)
	}
	first, data = chunkColumns(s, &r.buf)
	return first, data, true, classify(s.Reset())
}

func chunkColumns(s *sqlite.Stmt, buf *[]byte) (first ID, data []byte) {
	s.ColumnBytes(0, first[:])
	n := s.ColumnLen(1)
	if cap(*buf) < n {
		*buf = make([]byte, n+n/4)
	}
	data = (*buf)[:n]
	s.ColumnBytes(1, data)
	return first, data
}

// low is the lowest sequence in a stream where an ended row stands.
func (r *reader) low(stream uint8) (seq uint64, ok bool, err error) {
	r.lowest.BindInt64(1, int64(stream))
	if ok, err = r.lowest.Step(); err != nil {
		return 0, false, classify(err)
	}
	if ok {
		seq = uint64(r.lowest.ColumnInt64(0)) //nolint:gosec // as written
	}
	return seq, ok, classify(r.lowest.Reset())
}

// Find gives the rows with these ids, in the order of the ids; missing ones are
// left out. It sees each row as of the last Apply or later.
func (x *Index) Find(ids []ID) ([]Row, error) {
	r, err := x.reader()
	if err != nil {
		return nil, err
	}
	defer x.release(r)
	rows := make([]Row, 0, len(ids))
	f := finder{x: x, r: r}
	for i := range ids {
		row, ok, err := f.find(&ids[i])
		if err != nil {
			return nil, fmt.Errorf("find runs in the index: %w", err)
		}
		if ok {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// finder looks ids up and remembers the last chunk.
type finder struct {
	x    *Index
	r    *reader
	data []byte
	from ID // first and
	to   ID // last id of data
}

func (f *finder) find(id *ID) (row Row, ok bool, err error) {
	if f.data == nil || compareIDs(*id, f.from) < 0 || compareIDs(*id, f.to) > 0 {
		if _, f.data, ok, err = f.r.chunk(f.r.at, id); err != nil || !ok {
			f.data = nil
			return row, false, err
		}
	}
	classes := *f.x.classes.Load() // after the read: it names all classes in it
	s := scan(f.data)
	for n := 0; s.next(); n++ {
		if n == 0 {
			f.from = s.id
		}
		f.to = s.id
		if ok = s.id == *id; ok {
			if int(s.class) >= len(classes) {
				return row, false, ErrDamaged
			}
			row, err = s.row(&classes[s.class])
			break
		}
	}
	if s.err != nil {
		f.data = nil
		return row, false, s.err
	}
	return row, ok, err
}
