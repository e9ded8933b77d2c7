package natsengine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// IndexConfig makes an engine hold an index, which it may then be asked for.
type IndexConfig struct {
	Path string
	// Boot names the boot of the machine: an index that was open when it changed
	// is built anew, because its pages were not synced.
	Boot string
	// Unsure says that the machine may have lost power: what the streams and the
	// consumers hold may be from different moments.
	Unsure bool
	// Clean says that the server was closed in order when it ran last: its notes of
	// deliveries are exact.
	Clean bool
	// Alone says that no other process can have been connected before this one
	// opened, so that whatever was under way is not any more.
	Alone bool
}

// holder keeps the index, answers questions about it, and does what one process
// must do for all: cancel, retry, retention, taking over from dead nodes.
type holder struct {
	e   *Engine
	cfg IndexConfig
	ix  *index.Index

	in    chan *change
	done  chan struct{}
	spare sync.Pool    // of changes
	hurry atomic.Int32 // somebody waits: do not gather

	mu      sync.Mutex
	cond    *sync.Cond
	applied map[string]uint64
	got     map[string]uint64 // sequences handed to the feeder
	tails   map[string]*tail  // by position
	opened  map[string]uint64 // ends of streams when this process opened
	before  []index.Row       // open runs of an index that was given up
	unread  atomic.Int64      // messages found unreadable
	anew    atomic.Bool       // the server has been started anew since

	retryMu   sync.Mutex
	nodes     nodes
	noted     []string // of nodes, the last
	deadlines deadlines
	homes     homes
	sub       *nats.Subscription
	stopped   sync.Once
	broken    sync.Once
}

func openHolder(ctx context.Context, e *Engine, cfg IndexConfig) (*holder, error) {
	h := &holder{
		e: e, cfg: cfg, in: make(chan *change, 256), done: make(chan struct{}),
		applied: map[string]uint64{}, got: map[string]uint64{}, tails: map[string]*tail{}, opened: map[string]uint64{},
	}
	h.cond = sync.NewCond(&h.mu)
	h.nodes.init()
	h.homes.m = map[engine.ID]*home{}
	if err := h.openIndex(); err != nil {
		return nil, err
	}
	ok, err := h.matches(ctx)
	if err != nil {
		h.ix.Close() //nolint:errcheck,gosec // the first error counts
		return nil, err
	}
	if !ok {
		e.log.WarnContext(ctx, "the index is ahead of the streams, as after a power cut: it is built anew")
		h.remember(ctx)
		h.ix.Close() //nolint:errcheck,gosec // it is removed
		if err := index.Remove(cfg.Path); err != nil {
			return nil, fmt.Errorf("remove the index: %w", err)
		}
		if err := h.openIndex(); err != nil {
			return nil, err
		}
	}
	go h.run()
	return h, nil
}

func (h *holder) openIndex() error {
	ix, err := index.Open(index.Options{
		Path: h.cfg.Path, Boot: h.cfg.Boot, Version: strconv.Itoa(engine.WireVersion) + "." + rowVersion,
		Terminal: func(s uint8) bool { return engine.State(s).Terminal() },
	})
	if err != nil {
		return err // which says that it is the index
	}
	for _, f := range []string{"", "-wal", "-shm"} { // as all else in the data directory
		if err := os.Chmod(h.cfg.Path+f, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("open the index: %w", err)
		}
	}
	h.ix = ix
	clear(h.applied)
	for _, p := range ix.Positions() {
		h.applied[p.Pos], h.got[p.Pos] = p.Seq, p.Seq
	}
	return nil
}

// matches tells whether each stream still holds, where the index has read up
// to, the message that it read there.
func (h *holder) matches(ctx context.Context) (bool, error) {
	for _, p := range h.ix.Positions() {
		stream := positionStream(p.Pos)
		s, err := h.e.js.Stream(ctx, stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("check the index against %s: %w", stream, unavailable(err))
		}
		if p.Seq > s.CachedInfo().State.LastSeq {
			return false, nil
		}
		if p.Seq == 0 { // a mark
			continue
		}
		m, err := h.e.get(ctx, stream, p.Seq)
		if err != nil {
			return false, err
		}
		if m != nil && m.time.UnixNano() != p.Time {
			return false, nil
		}
	}
	return true, nil
}

func positionStream(pos string) string {
	switch pos {
	case posLog:
		return streamLog
	case posDelayed:
		return streamDelayed
	case posHome:
		return streamHome
	case posFailed:
		return streamFailed
	case posRetried:
		return streamRetried
	default:
		return queueStream(pos[len("q."):])
	}
}

// start follows what is there, catches up with it, and begins to serve.
func (h *holder) start(ctx context.Context) error {
	if err := h.follow(posDelayed, h.takeDelayed); err != nil {
		return err
	}
	if err := h.follow(posHome, h.takeHome); err != nil {
		return err
	}
	var names []string
	l := h.e.js.StreamNames(ctx, jetstream.WithStreamListSubject(prefix+".q.>"))
	for n := range l.Name() {
		names = append(names, n)
	}
	if err := l.Err(); err != nil {
		return fmt.Errorf("list queues: %w", unavailable(err))
	}
	for _, n := range names {
		if len(n) > len(streamQueue) {
			if err := h.e.queue(ctx, untoken(n[len(streamQueue):])); err != nil {
				return err
			}
		}
	}
	if err := h.noteOpened(ctx); err != nil {
		return err
	}
	if err := h.barrierNow(ctx); err != nil {
		return err
	}
	if err := h.recoverFailed(ctx); err != nil {
		return err
	}
	if err := h.checkStored(ctx); err != nil {
		return err
	}
	if err := h.recover(ctx); err != nil {
		return err
	}
	if err := h.loadMembers(ctx); err != nil {
		return err
	}
	if err := h.loadDeadlines(ctx); err != nil {
		return err
	}
	h.ix.Caught()
	if err := h.serveRequests(); err != nil {
		return err
	}
	h.e.wg.Go(h.janitor)
	h.e.wg.Go(h.coordinate)
	return nil
}

// noteOpened remembers where streams ended when this process, and with it the
// server, started: what is older may have been under way before.
func (h *holder) noteOpened(ctx context.Context) error {
	h.mu.Lock()
	streams := []string{streamDelayed}
	for pos := range h.tails {
		if hasPrefix(pos, "q.") {
			streams = append(streams, positionStream(pos))
		}
	}
	h.mu.Unlock()
	for _, s := range streams {
		last, err := h.e.last(ctx, s)
		if err != nil {
			return err
		}
		h.opened[s] = last
	}
	return nil
}

// Restarts says that the server is about to be stopped and started anew under this
// engine, perhaps not in order: whatever stands in a queue then is in doubt.
func (e *Engine) Restarts() {
	if e.holder != nil {
		e.holder.anew.Store(true)
	}
}

func (h *holder) stop() {
	h.stopped.Do(func() {
		h.mu.Lock()
		tails := h.tails
		h.tails = nil
		h.cond.Broadcast()
		h.mu.Unlock()
		for _, t := range tails {
			t.stop()
		}
		<-h.done
		if err := h.ix.Close(); err != nil {
			h.e.log.Warn("close the index", "error", err)
		}
	})
}

// follow starts to feed a stream's messages from where the index is.
func (h *holder) follow(pos string, take func(pos string) func(*nats.Msg, uint64, int64)) error {
	t, err := h.e.tail(positionStream(pos), positionSubject(pos), h.position(pos)+1, take(pos))
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tails == nil {
		t.stop()
		return errClosed
	}
	h.tails[pos] = t
	return nil
}

func (h *holder) followQueue(ctx context.Context, name string) error {
	pos := posQueue(name)
	h.mu.Lock()
	_, there := h.tails[pos]
	h.mu.Unlock()
	if there {
		return nil
	}
	return h.follow(pos, h.whole(ctx, h.takeQueue))
}

// place is up to where a follower has come.
func (h *holder) place(pos string) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.got[pos]
}

func (h *holder) position(pos string) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.applied[pos]
}

// barrier waits until the index holds each stream up to the given sequence, or
// has passed where it was if that message has been deleted since.
func (h *holder) barrier(ctx context.Context, upto map[string]uint64) error {
	h.hurry.Add(1)
	defer h.hurry.Add(-1)
	for pos, seq := range upto {
		for !h.reached(ctx, pos, seq) {
			if err := context.Cause(ctx); err != nil {
				return &engine.Error{Code: engine.CodeUnavailable, Err: fmt.Errorf("the index lags behind %s: %w", pos, err)}
			}
			if h.e.ctx.Err() != nil {
				return errClosed
			}
			if gone, err := h.deleted(ctx, pos, seq); err != nil {
				return err
			} else if gone {
				break
			}
		}
	}
	return nil
}

// recheck is after how long a barrier looks whether what it waits for is gone.
const recheck = 250 * time.Millisecond

// reached waits a little for the index to reach seq.
func (h *holder) reached(ctx context.Context, pos string, seq uint64) bool {
	if h.position(pos) >= seq {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, recheck)
	defer cancel()
	defer context.AfterFunc(ctx, h.wake)()
	defer context.AfterFunc(h.e.ctx, h.wake)()
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.applied[pos] < seq {
		if ctx.Err() != nil || h.e.ctx.Err() != nil {
			return false
		}
		h.cond.Wait()
	}
	return true
}

// deleted tells whether no message is left between where the index is and seq.
func (h *holder) deleted(ctx context.Context, pos string, seq uint64) (bool, error) {
	next, err := h.e.batchGet(ctx, positionStream(pos), positionSubject(pos), h.position(pos)+1, 1)
	if err != nil {
		return false, err
	}
	return len(next) == 0 || next[0].seq > seq, nil
}

func (h *holder) wake() {
	h.mu.Lock()
	h.cond.Broadcast()
	h.mu.Unlock()
}

// ends are the positions that the index will have when it has read all that is
// stored now in the log, the delayed runs, and the queues named (all if none).
func (h *holder) ends(ctx context.Context, queues ...string) (map[string]uint64, error) {
	h.mu.Lock()
	var want []string
	for pos := range h.tails {
		want = append(want, pos)
	}
	h.mu.Unlock()
	if len(queues) > 0 {
		want = []string{posDelayed, posHome}
		for _, q := range queues {
			want = append(want, posQueue(q))
		}
	}
	out := map[string]uint64{}
	for _, pos := range append(want, posLog) {
		seq, err := h.e.lastFollowed(ctx, pos)
		if err != nil {
			return nil, err
		}
		out[pos] = seq
	}
	return out, nil
}

// barrierNow waits until the index holds all that is stored now.
func (h *holder) barrierNow(ctx context.Context, queues ...string) error {
	to, err := h.ends(ctx, queues...)
	if err != nil {
		return err
	}
	return h.barrier(ctx, to)
}

// lag is how many messages the index has not applied yet.
func (h *holder) lag(ctx context.Context) int64 {
	ends, err := h.ends(ctx)
	if err != nil {
		return -1
	}
	n := int64(0)
	h.mu.Lock()
	defer h.mu.Unlock()
	for pos, seq := range ends {
		n += int64(seq) - int64(min(seq, h.applied[pos])) //nolint:gosec // sequences are small
	}
	return n
}

// lastFollowed is the sequence of the newest message that a position's follower
// will meet: the stream's end may hold a message that has been deleted since.
func (e *Engine) lastFollowed(ctx context.Context, pos string) (uint64, error) {
	m, err := e.getLast(ctx, positionStream(pos), positionSubject(pos))
	if err != nil || m == nil {
		return 0, err
	}
	return m.seq, nil
}

func positionSubject(pos string) string {
	switch pos {
	case posLog:
		return subjectLog
	case posDelayed:
		return prefix + ".d.>"
	case posHome:
		return subjectHome + "*"
	case posFailed:
		return subjectFailed
	case posRetried:
		return subjectRetried
	default:
		return queueSubject(pos[len("q."):])
	}
}
