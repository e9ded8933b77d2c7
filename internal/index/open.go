package index

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// layout is the version of the tables and of what is in them.
const layout = "1"

const schema = `
create table meta(one integer primary key, version text, boot text, owner integer, closed integer);
create table pos(name text primary key, seq integer, time integer) without rowid;
create table class(n integer primary key, state integer, queue text, task text, retried integer, count integer);
create table dir(first blob primary key, n integer, due integer) without rowid;
create index dir_due on dir(due) where due is not null;
create table chunk(n integer primary key, data blob);
create table post(hash integer, class integer, first blob, primary key(hash, class, first)) without rowid;
create table low(stream integer, first blob, seq integer, primary key(stream, first)) without rowid;
create index low_seq on low(stream, seq);
create table link(old blob primary key, new blob) without rowid;
`

// errStale says that a file is fine, but not what we want.
var errStale = errors.New("another version of the index")

// busyWait bounds how long a connection waits for another process's lock.
const busyWait = 2 * time.Second

// found is what was there before an index was opened.
type found struct {
	none bool
	// Without its log the database of an index that was not closed may be torn.
	logged bool
	// Of one that was closed the size is known: SQLite itself does not notice that
	// the end is missing.
	pages int64
}

func open(o Options) (*Index, error) {
	f := found{pages: -1}
	if i, err := os.Stat(o.Path + "-wal"); err == nil {
		f.logged = i.Size() > 0
	}
	i, err := os.Stat(o.Path)
	switch {
	case err == nil && i.IsDir():
		return nil, errors.New("it is a directory: name a file in it")
	case err == nil && i.Size()%pageSize == 0:
		f.pages = i.Size() / pageSize
	case errors.Is(err, os.ErrNotExist):
		f.none = true
		if err := Remove(o.Path); err != nil { // what is beside it belongs to another
			return nil, err
		}
	}
	c, err := connect(o.Path, o.CacheBytes/2, sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	x := &Index{path: o.Path, terminal: o.Terminal, owner: rand.Int64(), positions: map[string]Position{}} //nolint:gosec // no secret
	if err := x.start(c, &o, f); err != nil {
		c.Close() //nolint:errcheck,gosec // the first error counts
		return nil, classify(err)
	}
	x.pool = make(chan *reader, readers)
	for range readers {
		x.pool <- &reader{cache: o.CacheBytes / 2 / readers}
	}
	return x, nil
}

// connect opens a connection.
func connect(path string, cache int, flags sqlite.OpenFlags) (*sqlite.Conn, error) {
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, flags)
	if err != nil {
		return nil, classify(err)
	}
	c.SetBusyTimeout(busyWait)
	for _, p := range []string{
		"page_size=" + strconv.Itoa(pageSize), "journal_mode=wal", "synchronous=off", "temp_store=memory",
		"cache_size=-" + strconv.Itoa(cache>>10), "wal_autocheckpoint=2000", "journal_size_limit=33554432",
	} {
		if err := sqlitex.ExecuteTransient(c, "pragma "+p, nil); err != nil {
			c.Close() //nolint:errcheck,gosec // the first error counts
			return nil, classify(err)
		}
	}
	return c, nil
}

// start makes the tables or checks them, takes the index over, and reads what is
// kept in memory.
func (x *Index) start(c *sqlite.Conn, o *Options, f found) error {
	if f.none {
		if err := create(c, o); err != nil {
			return err
		}
	} else if err := check(c, o, f); err != nil {
		return err
	}
	err := sqlitex.Execute(c, "update meta set owner=?, boot=?, closed=0", &sqlitex.ExecOptions{Args: []any{x.owner, o.Boot}})
	if err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	// From here on the database itself says that it was not closed, so that a lost
	// log is noticed.
	if err := sqlitex.ExecuteTransient(c, "pragma wal_checkpoint(full)", nil); err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	if x.w, err = newWriter(x, c); err != nil {
		return err
	}
	return x.restore(c)
}

func create(c *sqlite.Conn, o *Options) (err error) {
	defer sqlitex.Save(c)(&err)
	if err := sqlitex.ExecuteScript(c, schema, nil); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	return sqlitex.Execute(c, "insert into meta values(1, ?, ?, 0, 0)",
		&sqlitex.ExecOptions{Args: []any{layout + "/" + o.Version, o.Boot}})
}

// check gives errStale for an index that is not to be used.
func check(c *sqlite.Conn, o *Options, f found) error {
	ok := false
	err := sqlitex.Execute(c, "select version, boot, closed from meta", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		closed := s.ColumnInt64(2)
		ok = s.ColumnText(0) == layout+"/"+o.Version &&
			(closed > 0 && closed == f.pages || closed == 0 && f.logged && s.ColumnText(1) == o.Boot)
		return nil
	}})
	if sqlite.ErrCode(err) == sqlite.ResultError { // no such table or column
		return errStale
	}
	if err == nil && !ok {
		return errStale
	}
	return err
}

// restore reads what is kept in memory.
func (x *Index) restore(c *sqlite.Conn) error {
	if err := sqlitex.ExecuteTransient(c, "delete from class where count=0", nil); err != nil {
		return fmt.Errorf("drop empty classes: %w", err)
	}
	var classes []class
	err := sqlitex.Execute(c, "select n, state, queue, task, retried, count from class order by n", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		n := s.ColumnInt(0)
		if n < len(classes) || n > 1<<24 {
			return ErrDamaged
		}
		for n > len(classes) { // a number that is free
			x.w.free = append(x.w.free, uint32(len(classes))) //nolint:gosec // below n
			classes = append(classes, class{})
			x.counts, x.ended = append(x.counts, 0), append(x.ended, 0)
		}
		k := classKey{uint8(s.ColumnInt(1)), s.ColumnBool(4), s.ColumnText(2), s.ColumnText(3)} //nolint:gosec // as written
		x.w.byKey[k] = uint32(n)                                                                //nolint:gosec // checked
		classes = append(classes, class{classKey: k, live: true, terminal: x.terminal(k.state)})
		x.counts, x.ended = append(x.counts, s.ColumnInt64(5)), append(x.ended, 0)
		return nil
	}})
	if err != nil {
		return fmt.Errorf("read classes: %w", err)
	}
	x.classes.Store(&classes)
	err = sqlitex.Execute(c, "select name, seq, time from pos", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		p := Position{s.ColumnText(0), uint64(s.ColumnInt64(1)), s.ColumnInt64(2)} //nolint:gosec // as written
		x.positions[p.Pos] = p
		return nil
	}})
	if err != nil {
		return fmt.Errorf("read positions: %w", err)
	}
	err = sqlitex.Execute(c, "select (select count(*) from link), (select max(n) from chunk)", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		x.w.links, x.w.last = s.ColumnInt(0), s.ColumnInt64(1)
		return nil
	}})
	if err != nil {
		return fmt.Errorf("read sizes: %w", err)
	}
	return nil
}

// classify marks errors that mean damage.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrDamaged) {
		return err
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB, sqlite.ResultFormat:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	default:
		return err
	}
}
