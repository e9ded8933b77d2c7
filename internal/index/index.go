// Package index keeps a local list of runs in SQLite: what is there, in which
// state, and where in the streams its newest record stands. It holds nothing of
// its own: it can be deleted at any moment and built again by reading the
// streams, and it does so by itself when its file is damaged.
//
// It is passive and starts no goroutine. Followers of streams hand it changes by
// Apply; everything else may be called at the same time. DESIGN.md beside the
// code says how it is laid out, and why.
package index

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"zombiezen.com/go/sqlite"
)

// ErrClosed is the error of calls after Close.
var ErrClosed = errors.New("the index is closed")

// ErrDamaged is the error of calls that met damage in the file. Nothing is lost:
// close the index, Remove it, and open it again; it is then empty and is filled
// from the streams.
var ErrDamaged = errors.New("the index is damaged: it has to be removed and built again")

// ErrTaken is the error of writes after somebody else opened the same path.
var ErrTaken = errors.New("the index was opened by another process or engine: give each a path of its own")

// Options configure an Index.
type Options struct {
	// Path of the database file. SQLite keeps two more beside it, named Path-wal
	// and Path-shm. The directory must exist.
	Path string
	// Version of what the caller puts into rows. An index of another version is
	// dropped. Default "".
	Version string
	// Boot names the machine's boot. The index is only synced by Close, so one
	// that was not closed is dropped when the boot has changed since. Default "":
	// not checked.
	Boot string
	// Terminal tells whether a run in this state has ended for ever. Required.
	Terminal func(state uint8) bool
	// CacheBytes bounds the page caches of all connections together. Default 16 MiB.
	CacheBytes int
}

// Index is a list of runs. Its methods may be called at the same time; calls
// that write wait for each other, readers wait for nobody but each other when
// there are more than a few.
type Index struct {
	path     string
	terminal func(uint8) bool
	owner    int64 // tells this opening from a later one of the same path

	mu     sync.Mutex // guards what follows, of the one writer
	w      *writer
	closed bool

	pool    chan *reader
	classes atomic.Pointer[[]class] // by number; only ever appended to

	info      sync.Mutex // guards what follows
	counts    []int64    // rows, by number of class
	ended     []int64    // runs that have ended since the index was opened, likewise
	positions map[string]Position
}

// Position is up to where a stream has been applied: the sequence and time (unix
// ns) of the last message.
type Position struct {
	Pos  string
	Seq  uint64
	Time int64
}

// Count is how many runs of a task in a queue are in a state. Failed runs that
// were retried are counted apart.
type Count struct {
	State       uint8
	Queue, Task string
	Retried     bool
	N           int64
	Ended       int64 // how many have ended so since the index was opened, or Caught up, whether they are kept or not
}

// Caught begins to count ends: what was applied before ended before it was opened.
func (x *Index) Caught() {
	x.info.Lock()
	defer x.info.Unlock()
	clear(x.ended)
}

// readers is how many reads go on at a time.
const readers = 3

// Open opens the index at a path. One that is missing, damaged, of another
// version, or was not closed before a change of boot or a loss of its log, is
// replaced by an empty one: Positions tells. Whoever had the path open before
// cannot write any more.
func Open(o Options) (*Index, error) {
	if o.Terminal == nil {
		return nil, errors.New("open index: Options.Terminal is missing")
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 16 << 20
	}
	x, err := open(o)
	if errors.Is(err, errStale) || errors.Is(err, ErrDamaged) {
		if err = Remove(o.Path); err != nil {
			return nil, err
		}
		x, err = open(o)
	}
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", o.Path, advise(err))
	}
	return x, nil
}

// Remove deletes an index and what SQLite keeps beside it. None there is no
// error. An index should be closed before.
func Remove(path string) error {
	for _, suffix := range files() {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove index: %w: delete %s by hand", err, path+suffix)
		}
	}
	return nil
}

// files are the endings of what makes up an index. The log goes last: without
// its database it means nothing, while a database without it may be torn.
func files() []string { return []string{"", "-shm", "-wal"} }

// advise says what to do about an error of opening.
func advise(err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultBusy, sqlite.ResultLocked:
		return fmt.Errorf("%w: another process has locked it: stop that one, or use another path", err)
	case sqlite.ResultCantOpen, sqlite.ResultPerm, sqlite.ResultReadOnly, sqlite.ResultAuth:
		return fmt.Errorf("%w: the path must be a file that can be written, in a directory that exists", err)
	default: // what is to be done about a disk its owner says
		return err
	}
}

// Close syncs and closes the index, after calls under way. It may be called
// twice. An index that was not closed is as good, unless the machine goes down.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil
	}
	x.closed = true
	for range readers {
		if r := <-x.pool; r.open() {
			r.close()
		}
	}
	close(x.pool)
	return x.w.close()
}

// Positions are up to where streams have been applied, ordered by name.
func (x *Index) Positions() []Position {
	x.info.Lock()
	defer x.info.Unlock()
	out := make([]Position, 0, len(x.positions))
	for _, p := range x.positions {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Position) int { return strings.Compare(a.Pos, b.Pos) })
	return out
}

// Counts are the numbers of runs, as of the last Apply, where one is not zero.
func (x *Index) Counts() []Count {
	x.info.Lock()
	defer x.info.Unlock()
	classes := *x.classes.Load()
	var out []Count
	for i, n := range x.counts {
		if c := &classes[i]; n != 0 || x.ended[i] != 0 {
			out = append(out, Count{c.state, c.queue, c.task, c.retried, n, x.ended[i]})
		}
	}
	return out
}

// Floor is the sequence below which no ended run's newest record stands in a
// stream, so that its messages before may go: the lowest Row.Seq among ended
// runs with that Row.Stream, or what follows the position pos if there is none.
func (x *Index) Floor(pos string, stream uint8) (uint64, error) {
	x.info.Lock()
	next := x.positions[pos].Seq + 1 // first: rows applied meanwhile lie above it
	x.info.Unlock()
	r, err := x.reader()
	if err != nil {
		return 0, err
	}
	defer x.release(r)
	low, ok, err := r.low(stream)
	if err != nil {
		return 0, fmt.Errorf("read the floor of the index: %w", err)
	}
	if ok {
		next = min(next, low)
	}
	return next, nil
}
