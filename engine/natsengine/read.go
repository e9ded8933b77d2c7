package natsengine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

// Get implements engine.Engine.
func (e *Engine) Get(ctx context.Context, id engine.ID) (*engine.Info, error) {
	a, err := e.call(ctx, opGet, &request{After: e.wrote.all(), IDs: []engine.ID{id}})
	if err != nil {
		return nil, err
	}
	return a.Info, nil
}

// Find implements engine.Engine.
func (e *Engine) Find(ctx context.Context, ids []engine.ID) ([]engine.Info, error) {
	a, err := e.call(ctx, opFind, &request{After: e.wrote.all(), IDs: ids})
	if n := len(ids) / 2; n > 0 && engine.CodeOf(err) == engine.CodeTooLarge { // with all tags of so many
		some, err := e.Find(ctx, ids[:n])
		if err != nil {
			return nil, err
		}
		rest, err := e.Find(ctx, ids[n:])
		return append(some, rest...), err
	}
	if err != nil {
		return nil, err
	}
	return a.Infos, nil
}

// List implements engine.Engine.
func (e *Engine) List(ctx context.Context, q engine.Query) (*engine.Page, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	a, err := e.call(ctx, opList, &request{After: e.wrote.all(), Query: q})
	if err != nil {
		return nil, err
	}
	return a.Page, nil
}

// Counts implements engine.Engine.
func (e *Engine) Counts(ctx context.Context) ([]engine.Count, error) {
	a, err := e.call(ctx, opCounts, &request{After: e.wrote.all()})
	if err != nil {
		return nil, err
	}
	return a.Counts, nil
}

// Queues implements engine.Engine.
func (e *Engine) Queues(ctx context.Context) ([]engine.QueueInfo, error) {
	a, err := e.call(ctx, opQueues, &request{After: e.wrote.all()})
	if err != nil {
		return nil, err
	}
	return a.Queues, nil
}

// Nodes implements engine.Engine.
func (e *Engine) Nodes(ctx context.Context) ([]engine.NodeInfo, error) {
	a, err := e.call(ctx, opNodes, &request{})
	if err != nil {
		return nil, err
	}
	return a.Nodes, nil
}

// Status implements engine.Engine.
func (e *Engine) Status(ctx context.Context) (*engine.Status, error) {
	a, err := e.call(ctx, opStatus, &request{})
	if err != nil {
		return nil, err
	}
	return a.Status, nil
}

// Attach implements engine.Engine. It registers before it asks, holds what it
// sees meanwhile, and lets the index's answer win: that record stands before in
// the log.
func (e *Engine) Attach(ctx context.Context, id engine.ID, w engine.Waiter) error {
	if err := e.ready("attach"); err != nil {
		return err
	}
	e.watches.add(id, w, true)
	a, err := e.call(ctx, opRecord, &request{After: e.wrote.all(), IDs: []engine.ID{id}})
	if err != nil {
		e.watches.remove(id, w)
		e.watches.release(id, nil)
		return err
	}
	if len(a.Record) == 0 {
		e.watches.release(id, nil)
		return nil
	}
	r, err := readRecord(a.Record, 1)
	if err != nil {
		e.watches.remove(id, w)
		e.watches.release(id, nil)
		return &engine.Error{Code: engine.CodeInternal, Op: "attach", Err: err}
	}
	e.watches.release(id, r)
	return nil
}

// Output implements engine.Engine.
func (e *Engine) Output(ctx context.Context, r *engine.Record) ([]byte, error) {
	return e.objects.value(ctx, r.Output)
}

func readRecord(msg []byte, off int) (*engine.Record, error) {
	body, err := engine.FrameAt(msg, off)
	if err != nil {
		return nil, err
	}
	var d engine.Decoder
	var r engine.Record
	return &r, d.Record(body, &r)
}

func notFound(id engine.ID) error {
	return &engine.Error{Code: engine.CodeNotFound, Err: fmt.Errorf("no run %s: it was never submitted here, or its retention has passed", id)}
}

// row finds one run; what the index does not know it looks for again once it has
// caught up with all that is stored now.
func (h *holder) row(ctx context.Context, id engine.ID) (*index.Row, error) {
	for last := false; ; last = true {
		rows, err := h.ix.Find([]index.ID{index.ID(id)})
		if err != nil {
			return nil, fmt.Errorf("ask the index: %w", err)
		}
		if len(rows) > 0 {
			return &rows[0], nil
		}
		if last {
			return nil, notFound(id)
		}
		if err := h.barrierNow(ctx); err != nil {
			return nil, err
		}
	}
}

// record is the message of a run's terminal record, empty if it has not ended by
// the log's end as of now.
func (h *holder) record(ctx context.Context, ids []engine.ID) ([]byte, error) {
	if len(ids) != 1 {
		return nil, errors.New("want one id")
	}
	seq, err := h.e.lastFollowed(ctx, posLog)
	if err != nil {
		return nil, err
	}
	if err := h.barrier(ctx, map[string]uint64{posLog: seq}); err != nil {
		return nil, err
	}
	row, err := h.row(ctx, ids[0])
	if err != nil || !engine.State(row.State).Terminal() {
		return nil, err
	}
	_, r, err := h.stored(ctx, row)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, notFound(ids[0])
	}
	return engine.AppendRecord(nil, r), nil
}

func (h *holder) get(ctx context.Context, ids []engine.ID) (*engine.Info, error) {
	if len(ids) != 1 {
		return nil, errors.New("want one id")
	}
	row, err := h.row(ctx, ids[0])
	if err != nil {
		return nil, err
	}
	info := h.info(row)
	run, rec, err := h.stored(ctx, row)
	if err != nil {
		return nil, err
	}
	if run != nil {
		fillRun(info, run)
	}
	if rec != nil {
		fillRecord(info, rec)
	}
	if info.State == engine.Queued || info.State == engine.Scheduled {
		info.Waits = h.waits(ctx, info)
		if row.Stream == srcHome {
			info.Waits = "the worker that had it has not been heard: it starts again once that counts as gone"
		}
		if run == nil && h.unreadable(ctx, row) {
			info.Waits = "its message cannot be read, because the disk has damaged it: it ends as lost once the queue has come to it"
		}
	}
	return info, nil
}

func fillRun(info *engine.Info, r *engine.Run) {
	info.Attempts = int(max(r.Retry.Attempts, 1))
	info.Deadline = msTime(r.Deadline)
	if r.Input.Apart {
		info.InputSize = r.Input.Size
	} else if json.Valid(r.Input.Data) {
		info.Input = bytes.Clone(r.Input.Data)
	}
	if r.Failure != nil {
		info.Error = r.Failure
	}
	if !r.Parent.IsZero() {
		info.Parent = r.Parent.String()
	}
	info.Deaths = max(info.Deaths, int(r.Deaths))
}

func fillRecord(info *engine.Info, r *engine.Record) {
	if r.Output.Apart {
		info.OutputSize = r.Output.Size
	} else if json.Valid(r.Output.Data) {
		info.Output = bytes.Clone(r.Output.Data)
	}
	if r.Failure != nil {
		info.Error = r.Failure
	}
	if !r.Parent.IsZero() {
		info.Parent = r.Parent.String()
	}
	info.Deaths = int(r.Deaths)
}

func msTime(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms)
	return &t
}

// info is what the index and the heartbeats tell of a run.
func (h *holder) info(row *index.Row) *engine.Info {
	i := &engine.Info{
		ID: engine.ID(row.ID), State: stateOf(row, time.Now()), Queue: row.Queue, Task: row.Task, Attempt: int(row.Attempt),
		Created: engine.ID(row.ID).Time(), At: msTime(row.At), Started: msTime(row.Start), Ended: msTime(row.End),
	}
	if row.RetryOf != (index.ID{}) {
		i.RetryOf = engine.ID(row.RetryOf).String()
	}
	if row.RetriedBy != (index.ID{}) {
		i.RetriedBy = engine.ID(row.RetriedBy).String()
	}
	if len(row.Tags) > 0 {
		i.Tags = make(map[string]string, len(row.Tags))
		for _, t := range row.Tags {
			if t.Key != tagDeadline {
				i.Tags[t.Key] = t.Value
			}
		}
	}
	if row.Note != "" {
		code, text, _ := strings.Cut(row.Note, ": ")
		i.Error = &engine.Failure{Code: engine.Code(code), Message: text}
	}
	if i.State == engine.Queued {
		i.At = nil
	}
	if !i.State.Terminal() {
		i.Deaths = int(max(row.Rev&0xff, 1) - 1)
		h.nodes.overlay(i)
	}
	return i
}

func (h *holder) find(ctx context.Context, ids []engine.ID) ([]engine.Info, error) {
	want := make([]index.ID, len(ids))
	for i, id := range ids {
		want[i] = index.ID(id)
	}
	rows, err := h.ix.Find(want)
	if err == nil && len(rows) < len(ids) {
		if err = h.barrierNow(ctx); err == nil {
			rows, err = h.ix.Find(want)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("ask the index: %w", err)
	}
	out := make([]engine.Info, len(rows))
	for i := range rows {
		out[i] = *h.info(&rows[i])
	}
	return out, nil
}

// counts are the index's, with what nodes report as under way moved from queued.
func (h *holder) counts() ([]engine.Count, error) {
	type kind struct {
		queue, task string
		state       engine.State
	}
	sum := map[kind]*engine.Count{}
	of := func(queue, task string, state engine.State) *engine.Count {
		k := kind{queue, task, state}
		if sum[k] == nil {
			sum[k] = &engine.Count{Queue: queue, Task: task, State: state}
		}
		return sum[k]
	}
	now, untaken := time.Now(), false
	for _, c := range h.ix.Counts() {
		if c.State == stateUntaken {
			untaken = untaken || c.N > 0
			continue
		}
		n := of(c.Queue, c.Task, engine.State(c.State))
		n.N += c.N
		n.Finished += c.Ended
	}
	if untaken { // scheduled or queued, each by its own time
		q := index.Query{States: []uint8{stateUntaken}, Order: index.ByAt, Keep: func(r *index.Row) bool {
			of(r.Queue, r.Task, stateOf(r, now)).N++
			return false
		}}
		if _, _, err := h.ix.List(q); err != nil {
			return nil, fmt.Errorf("ask the index: %w", err)
		}
	}
	for _, l := range h.nodes.underWay() {
		rows, err := h.ix.Find([]index.ID{index.ID(l.ID)})
		if err != nil {
			return nil, fmt.Errorf("ask the index: %w", err)
		}
		if len(rows) == 0 || engine.State(rows[0].State).Terminal() {
			continue
		}
		state := engine.Running
		if l.Waiting {
			state = engine.Waiting
		}
		of(rows[0].Queue, rows[0].Task, stateOf(&rows[0], now)).N--
		of(rows[0].Queue, rows[0].Task, state).N++
	}
	out := make([]engine.Count, 0, len(sum))
	for _, c := range sum {
		if c.N = max(c.N, 0); c.N > 0 || c.Finished > 0 {
			out = append(out, *c)
		}
	}
	slices.SortFunc(out, func(a, b engine.Count) int {
		return strings.Compare(a.Queue+"\x00"+a.Task+"\x00"+strconv.Itoa(int(a.State)), b.Queue+"\x00"+b.Task+"\x00"+strconv.Itoa(int(b.State)))
	})
	return out, nil
}

func (h *holder) queues(ctx context.Context) ([]engine.QueueInfo, error) {
	counts, err := h.counts()
	if err != nil {
		return nil, err
	}
	byName := map[string]*engine.QueueInfo{}
	h.mu.Lock()
	for pos := range h.tails {
		if q, ok := strings.CutPrefix(pos, "q."); ok {
			byName[q] = &engine.QueueInfo{Name: q, Counts: map[string]int64{}}
		}
	}
	h.mu.Unlock()
	for _, c := range counts {
		if q := byName[c.Queue]; q != nil {
			q.Counts[c.State.String()] += c.N
		}
	}
	out := make([]engine.QueueInfo, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		q := byName[name]
		if q.Paused, err = h.e.paused(ctx, name); err != nil {
			return nil, err
		}
		for _, n := range h.nodes.infos() {
			if slices.Contains(n.Queues, name) {
				q.Workers++
			}
		}
		out = append(out, *q)
	}
	return out, nil
}

// waits says why a run does not run yet.
func (h *holder) waits(ctx context.Context, i *engine.Info) string {
	if i.State == engine.Scheduled && i.At != nil {
		return "its time is " + i.At.UTC().Format(time.RFC3339)
	}
	if p, err := h.e.paused(ctx, i.Queue); err == nil && p {
		return "queue " + i.Queue + " is paused"
	}
	queue, full := false, false
	for _, n := range h.nodes.infos() {
		queue = queue || slices.Contains(n.Queues, i.Queue)
		if slices.Contains(n.Routes, engine.Route{Queue: i.Queue, Task: i.Task}) {
			if n.Busy < n.Slots {
				return "" // it is about to start
			}
			full = true
		}
	}
	if full {
		return "all slots are taken"
	}
	if queue {
		return "no live worker knows task " + i.Task
	}
	return "no live worker takes from queue " + i.Queue
}

func (h *holder) status(ctx context.Context, op string) *engine.Status {
	s := h.e.cfg.Status
	s.Server = h.e.nc.ConnectedServerVersion()
	s.Node, s.Started = h.e.id, h.e.since
	s.Accepting = h.e.accepting() == nil
	s.Damaged = h.unread.Load()
	if op == opStatus {
		s.IndexLag = h.lag(ctx)
	}
	return &s
}

// paused tells whether a queue's deliveries are stopped.
func (e *Engine) paused(ctx context.Context, queue string) (bool, error) {
	until, err := e.pausedUntil(ctx, queue)
	return until != nil, err
}

func (e *Engine) pausedUntil(ctx context.Context, queue string) (*time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c, err := e.js.Consumer(ctx, queueStream(queue), queueConsumer())
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, &engine.Error{Code: engine.CodeNotFound, Op: "look at queue", Err: fmt.Errorf("no queue %q", queue)}
	}
	if err != nil {
		return nil, fmt.Errorf("look at queue %s: %w", queue, unavailable(err))
	}
	if i := c.CachedInfo(); i.Paused {
		return i.Config.PauseUntil, nil
	}
	return nil, nil
}
