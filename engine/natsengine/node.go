package natsengine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// deadAfter is how long a node may be silent. It is longer than a pause of 3 s
// right before a heartbeat is due.
const deadAfter = 4200 * time.Millisecond

// beat is a node's heartbeat.
type beat struct {
	Node engine.NodeInfo `json:"node"`
	Runs []liveRun       `json:"runs,omitempty"`
	Part bool            `json:"part,omitempty"` // more runs of the same beat, or progress in between
	More bool            `json:"more,omitempty"` // another part follows, or this is no whole beat
	End  bool            `json:"end,omitempty"`  // the node stops now
}

// liveRun is a run under way on a node.
type liveRun struct {
	ID       engine.ID        `json:"id"`
	Rev      uint32           `json:"rev,omitempty"`
	Held     bool             `json:"held,omitempty"` // in hand, and not running: before it or after
	Waiting  bool             `json:"waiting,omitempty"`
	Attempt  int              `json:"attempt"`
	Started  int64            `json:"started"` // unix ms
	Progress *engine.Progress `json:"progress,omitempty"`
	node     string
}

// nodes is what a holder knows of live nodes, by its own clock.
type nodes struct {
	mu   sync.Mutex
	m    map[string]*nodeState
	runs map[engine.ID]liveRun
	let  map[engine.ID]grant
	from time.Time // since when it listens
	past time.Time // when it was looked last who is silent

	missing map[string]bool // alive under the holder before, and not heard yet
}

// grant says that a node was told that it may start a run in doubt.
type grant struct {
	node string
	rev  uint32
	at   time.Time
}

// grantFor is how long a grant counts: by then the node's heartbeats tell what it
// has in hand.
const grantFor = 2 * renewEvery

type nodeState struct {
	info engine.NodeInfo
	seen time.Time
	runs map[engine.ID]bool
	held map[engine.ID]uint32 // 1 + revision of all it has in hand
	old  map[engine.ID]bool   // what the beat before told, and this one has not yet
}

func (n *nodes) init() {
	n.m, n.runs, n.let = map[string]*nodeState{}, map[engine.ID]liveRun{}, map[engine.ID]grant{}
	n.missing = map[string]bool{}
}

// take records a heartbeat.
func (n *nodes) take(b *beat) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.m[b.Node.ID]
	if b.End {
		delete(n.missing, b.Node.ID)
		if s != nil {
			n.forget(b.Node.ID, s)
		}
		return
	}
	if s == nil {
		s = &nodeState{runs: map[engine.ID]bool{}, held: map[engine.ID]uint32{}}
		n.m[b.Node.ID] = s
	}
	s.seen = time.Now()
	if !b.Part {
		s.info = b.Node
		s.old = make(map[engine.ID]bool, len(s.held))
		for id := range s.held {
			s.old[id] = true
		}
	}
	for _, r := range b.Runs {
		delete(s.old, r.ID)
		s.held[r.ID] = r.Rev + 1
		if r.Held {
			n.leave(s, r.ID)
			continue
		}
		r.node = b.Node.Name
		s.runs[r.ID] = true
		n.runs[r.ID] = r
	}
	if b.More {
		return
	}
	if s.old == nil { // the first part was lost
		return
	}
	for id := range s.old { // not before all parts are there: these runs would seem to be in nobody's hand
		n.leave(s, id)
		delete(s.held, id)
	}
	s.old = nil
	delete(n.missing, b.Node.ID)
}

// leave notes that a run is not running on a node any more.
func (n *nodes) leave(s *nodeState, id engine.ID) {
	if s.runs[id] {
		delete(s.runs, id)
		delete(n.runs, id)
	}
}

func (n *nodes) forget(id string, s *nodeState) {
	for r := range s.runs {
		delete(n.runs, r)
	}
	delete(n.m, id)
}

// reap forgets silent nodes. When this process itself was stopped for long, nobody
// could be heard: all get the time again.
func (n *nodes) reap(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	stopped := !n.past.IsZero() && now.Sub(n.past) > deadAfter/2
	n.past = now
	for id, s := range n.m {
		if stopped {
			s.seen = now
		}
		if now.Sub(s.seen) > deadAfter {
			n.forget(id, s)
		}
	}
	for id, g := range n.let {
		if time.Since(g.at) > grantFor {
			delete(n.let, id)
		}
	}
}

// grants notes that a node may start a run, unless another was told so a moment
// ago: then it is 1 + the revision that one has, else 0. The same message may have
// come to two, who ask before their next heartbeats.
func (n *nodes) grants(id engine.ID, node string, rev uint32) (held uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if g, ok := n.let[id]; ok && g.node != node && g.rev >= rev && time.Since(g.at) <= grantFor {
		return g.rev + 1
	}
	n.let[id] = grant{node, rev, time.Now()}
	return 0
}

// heldBy is 1 + the highest revision of a run that a node other than the one
// that asks has in hand, 0 for none.
func (n *nodes) heldBy(id engine.ID, asks string) (rev uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, s := range n.m {
		if name != asks {
			rev = max(rev, s.held[id])
		}
	}
	return rev
}

func (n *nodes) alive(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.m[id] != nil
}

func (n *nodes) infos() []engine.NodeInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]engine.NodeInfo, 0, len(n.m))
	for _, s := range n.m {
		if s.info.ID != "" { // else only progress has been heard so far
			out = append(out, s.info)
		}
	}
	slices.SortFunc(out, func(a, b engine.NodeInfo) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}

// underWay lists the live runs; live their ids, newest first.
func (n *nodes) underWay() []liveRun {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]liveRun, 0, len(n.runs))
	for _, r := range n.runs {
		out = append(out, r)
	}
	return out
}

func (n *nodes) live() []engine.ID {
	var ids []engine.ID
	for _, r := range n.underWay() {
		ids = append(ids, r.ID)
	}
	slices.SortFunc(ids, func(a, b engine.ID) int { return bytes.Compare(b[:], a[:]) })
	return ids
}

// overlay adds to a run's info what its node reports.
func (n *nodes) overlay(i *engine.Info) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, ok := n.runs[i.ID]
	if !ok {
		if i.State == engine.Running { // begun in doubt, and its node is silent
			i.State = engine.Queued
		}
		return
	}
	i.State = engine.Running
	if r.Waiting {
		i.State = engine.Waiting
	}
	i.Attempt, i.Started, i.Node, i.Progress = r.Attempt, msTime(r.Started), r.node, r.Progress
}

// home is a long run that has left its queue: its node's heartbeat is its lease.
type home struct {
	node string
	seq  uint64
	left time.Time // since when this process, whose it is, does not have the run in hand
}

// discardHome deletes the entry of a run at home, and no later one, which is of
// another node that has taken over. Without a sequence it is the one of this node,
// if there is one.
func (e *Engine) discardHome(ctx context.Context, id engine.ID, seq uint64) error {
	subject := subjectHome + id.String()
	if seq == 0 {
		m, err := e.getLast(ctx, streamHome, subject)
		if err != nil || m == nil || m.header.Get(headerNode) != e.id {
			return err
		}
		seq = m.seq
	}
	return e.hooked(engine.WriteForget, func() error { return e.purge(ctx, streamHome, subject, seq+1) })
}

type homes struct {
	mu sync.Mutex
	m  map[engine.ID]*home
}

// headerNode names the node in a home entry.
const headerNode = "Faena-Node"

// coordinate listens to heartbeats and takes over from nodes that fell silent.
func (h *holder) coordinate() {
	e := h.e
	sub, err := e.nc.Subscribe(subjectBeat, func(m *nats.Msg) {
		var b beat
		if json.Unmarshal(m.Data, &b) == nil {
			h.nodes.take(&b)
		}
	})
	if err != nil {
		e.fatal(fmt.Errorf("listen to heartbeats: %w", err))
		return
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection closes with it
	h.nodes.mu.Lock()
	h.nodes.from = time.Now()
	h.nodes.mu.Unlock()
	t, err := e.tail(streamHome, subjectHome+"*", 1, func(m *nats.Msg, seq uint64, _ int64) {
		if id, err := engine.ParseID(m.Subject[len(subjectHome):]); err == nil {
			h.homes.mu.Lock()
			h.homes.m[id] = &home{node: m.Header.Get(headerNode), seq: seq}
			h.homes.mu.Unlock()
		}
	})
	if err != nil {
		e.fatal(err)
		return
	}
	defer t.stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for tidied := time.Now(); ; {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		h.nodes.reap(time.Now())
		h.noteMembers()
		if now := time.Now(); now.Sub(tidied) >= tidyEvery {
			tidied = now
			h.tidyHomes()
		}
		if h.cfg.Alone || time.Since(e.since) > deadAfter {
			h.takeOver()
		}
	}
}

// takeOver publishes again what silent nodes had under way.
func (h *holder) takeOver() {
	type orphan struct {
		id engine.ID
		*home
	}
	var orphans []orphan
	h.homes.mu.Lock()
	for id, o := range h.homes.m {
		if o.node == h.e.id && o.leftFor(h.e.inHand(id)) > deadAfter || o.node != h.e.id && !h.nodes.alive(o.node) {
			orphans = append(orphans, orphan{id, o})
		}
	}
	h.homes.mu.Unlock()
	for _, o := range orphans {
		ctx, cancel := context.WithTimeout(h.e.ctx, requestTimeout)
		err := h.adopt(ctx, o.id, o.home)
		cancel()
		if err != nil {
			if h.e.ctx.Err() == nil {
				h.e.log.Error("take over from a dead node", "run", o.id, "error", err)
			}
			return
		}
	}
}

// leftFor is for how long this process has not had a run in hand.
func (o *home) leftFor(inHand bool) time.Duration {
	switch {
	case inHand:
		o.left = time.Time{}
	case o.left.IsZero():
		o.left = time.Now()
	default:
		return time.Since(o.left)
	}
	return 0
}

// inHand tells whether this process's worker has a run, if there is a worker.
func (e *Engine) inHand(id engine.ID) bool {
	w := e.worker.Load()
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs[id] != nil
}

// tidyEvery is how often entries of runs that have ended are dropped.
const tidyEvery = time.Minute

// tidyHomes drops the entries of runs that have ended, which most nodes have done
// before, and forgets them: nobody takes over from a node that lives. One that
// stayed for longer than its run is kept would be taken for a run that has not ended.
func (h *holder) tidyHomes() {
	old, err := h.endedHomes()
	for id, o := range old {
		ctx, cancel := context.WithTimeout(h.e.ctx, requestTimeout)
		if _, _, rerr := h.entry(ctx, id); rerr == nil { // else a newer version wrote it
			err = h.leave(ctx, id, o)
		}
		cancel()
		if err != nil {
			break
		}
	}
	if err != nil {
		h.e.logError("the index holder", "drop home entries", err)
	}
}

// endedHomes are the entries of runs that the index knows to have ended, or does not
// keep any more.
func (h *holder) endedHomes() (map[engine.ID]*home, error) {
	read, old := h.position(posHome), map[engine.ID]*home{}
	h.homes.mu.Lock()
	for id, o := range h.homes.m {
		if o.seq <= read { // else the index does not know the run yet, perhaps
			old[id] = o
		}
	}
	h.homes.mu.Unlock()
	for ids := range slices.Chunk(slices.Collect(maps.Keys(old)), maxAtOnce) {
		known, err := h.known(ids)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if row := known[id]; row != nil && !engine.State(row.State).Terminal() {
				delete(old, id)
			}
		}
	}
	return old, nil
}

// entry reads a run's entry; nil if there is none.
func (h *holder) entry(ctx context.Context, id engine.ID) (*fetched, *engine.Run, error) {
	m, err := h.e.getLast(ctx, streamHome, subjectHome+id.String())
	if err != nil || m == nil {
		return nil, nil, err
	}
	body, err := engine.FrameAt(m.data, 1)
	if err != nil {
		return nil, nil, fmt.Errorf("read the home entry of %s: %w", id, err)
	}
	var d engine.Decoder
	r := new(engine.Run)
	if err := d.Run(body, r); err != nil {
		return nil, nil, fmt.Errorf("read the home entry of %s: %w", id, err)
	}
	return m, r, nil
}

// adopt moves one run back into its queue. The order of writes: the queue, the
// commit, then the home entry goes; a crash in between moves it twice, and the
// second is found superseded or finished.
func (h *holder) adopt(ctx context.Context, id engine.ID, o *home) error {
	m, r, err := h.entry(ctx, id)
	if err != nil {
		return err
	}
	if m == nil || m.header.Get(headerNode) != o.node {
		h.homes.drop(id, o)
		return nil
	}
	o.seq = m.seq
	if h.hasEnded(id, m.seq) { // cancelled meanwhile
		return h.leave(ctx, id, o)
	}
	r.Rev++
	r.Doubt = true
	r.Deaths++
	if err := h.e.requeue(ctx, []engine.Run{*r}); err != nil {
		return err
	}
	h.e.log.WarnContext(ctx, "a node fell silent: its run starts again", "run", id, "task", r.Task, "node", o.node, "deaths", r.Deaths)
	return h.leave(ctx, id, o)
}

// leave drops the entry of a run that has left its home.
func (h *holder) leave(ctx context.Context, id engine.ID, o *home) error {
	err := h.e.settle(ctx)
	if err == nil {
		err = h.e.discardHome(ctx, id, o.seq)
	}
	if err != nil {
		return h.e.written(err)
	}
	h.homes.drop(id, o)
	return nil
}

// hasEnded tells whether the index knows a run's end, or has known it: it has read
// the run's entry at home, and does not keep the run any more.
func (h *holder) hasEnded(id engine.ID, entry uint64) bool {
	read := h.position(posHome) // before it is asked
	rows, err := h.ix.Find([]index.ID{index.ID(id)})
	if err != nil {
		return false
	}
	if len(rows) == 0 {
		return entry <= read
	}
	return engine.State(rows[0].State).Terminal()
}

func (h *homes) drop(id engine.ID, o *home) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m[id] == o {
		delete(h.m, id)
	}
}

// requeue publishes runs into their queues again and commits.
func (e *Engine) requeue(ctx context.Context, runs []engine.Run) error {
	g := e.pub.group()
	for i := range runs {
		if err := g.add(ctx, engine.WriteEnvelope, queueSubject(runs[i].Queue), nil, engine.AppendRun(nil, &runs[i])); err != nil {
			return e.written(err)
		}
	}
	if err := g.wait(ctx); err != nil {
		return e.written(err)
	}
	return e.written(e.commitOn(ctx, g.server, 1))
}
