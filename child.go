package faena

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/faena-dev/faena/engine"
)

// children are the runs that an attempt has submitted. A child's id derives
// from its parent's and from what tells it among its siblings, so that the
// parent's next attempt names it again: its task, its input and which one of
// equal calls it is, or an explicit name. The order of calls does not matter:
// concurrent calls have none. A child that failed is followed by one of the
// same place with its try counted up.
type children struct {
	mu    sync.Mutex
	calls map[uint64]uint32   // by hash of task and input: calls made
	again map[uint64][]uint32 // calls whose submitting failed, to be made again
	names map[string]uint64   // by explicit name: hash of task and input

	ids   []ID   // to be cancelled with the parent
	left  []ID   // to be cancelled if the run ends with this attempt
	unset func() // ends the guard; nil if there is none
}

// place tells a child among its siblings.
type place struct {
	name string
	sum  [sha256.Size]byte // of task and input
	nth  uint32            // of equal calls
	try  uint32            // of those before it that failed
	sure bool              // nobody can have submitted it before
	hop  bool              // looked for as what a retry has made of it
}

func (p *place) key() uint64 { return binary.BigEndian.Uint64(p.sum[:]) }

func (p *place) id(parent ID) ID {
	var n [8]byte
	binary.BigEndian.PutUint32(n[4:], p.try)
	if p.name != "" {
		return parent.Derive("name", p.name, string(n[4:]))
	}
	binary.BigEndian.PutUint32(n[:], p.nth)
	return parent.Derive("call", string(p.sum[:]), string(n[:]))
}

func sum(task string, input []byte) (s [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte(task))
	h.Write([]byte{0}) // not in a name
	h.Write(input)
	h.Sum(s[:0])
	return s
}

// submit stores an order's runs as children of the attempt's run.
func (a *attempt) submit(ctx context.Context, n *Node, o *order, runs []engine.Run) error {
	places, err := a.kids.place(o, runs, a.fresh)
	if err != nil {
		return err
	}
	err = a.spacious(ctx, n, func() error {
		return n.patient(ctx, func() error { return a.try(ctx, n, o, runs, places) })
	})
	if err != nil {
		a.kids.redo(places)
		return err
	}
	if !o.set.detached && a.cancelled() { //nolint:contextcheck // an attempt is a context, the one that ends it
		n.abandon(context.WithoutCancel(ctx), ids(runs)) // those that cancelling the others has missed
		return &Error{Code: CodeCancelled, Op: "submit " + o.task, Err: ErrCancelled}
	}
	return nil
}

// try is one of perhaps several tries of a submission.
func (a *attempt) try(ctx context.Context, n *Node, o *order, runs []engine.Run, places []place) error {
	err := a.adopt(ctx, n, o, runs, places)
	full := engine.CodeOf(err) == CodeFull // nothing was stored
	for i := range places {                // what is asked again may be there by then
		places[i].sure, places[i].hop = places[i].sure && (err == nil || full), false
	}
	return err
}

// cancelled tells that the run was.
func (a *attempt) cancelled() bool {
	return a.Err() != nil && errors.Is(context.Cause(a), ErrCancelled)
}

// place tells each run's place among its siblings; first, that the parent has
// not been executed before.
func (k *children) place(o *order, runs []engine.Run, first bool) ([]place, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.calls == nil {
		k.calls, k.again, k.names = map[uint64]uint32{}, map[uint64][]uint32{}, map[string]uint64{}
	}
	places := make([]place, len(runs))
	for i := range runs {
		p := &places[i]
		p.sum, p.name, p.sure = sum(o.task, runs[i].Input.Data), o.set.named, first
		key := p.key()
		if p.name != "" {
			before, used := k.names[p.name]
			if used && before != key {
				return nil, misnamed(o, "of this attempt")
			}
			k.names[p.name] = key
			p.sure = first && !used
			continue
		}
		if g := k.again[key]; len(g) > 0 {
			p.nth, p.sure = g[len(g)-1], false
			k.again[key] = g[:len(g)-1]
			continue
		}
		p.nth = k.calls[key]
		k.calls[key]++
	}
	return places, nil
}

// redo lets the next equal calls have these places: their submitting failed, or
// its answer was lost.
func (k *children) redo(places []place) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range places {
		if p := &places[i]; p.name == "" {
			k.again[p.key()] = append(k.again[p.key()], p.nth)
		}
	}
}

func misnamed(o *order, where string) error {
	return &Error{Code: CodeConflict, Op: "submit " + o.task, Err: fmt.Errorf("a child %s named %q has another task or input", where, o.set.named)}
}

// adopt finds the runs that exist and stores the others.
func (a *attempt) adopt(ctx context.Context, n *Node, o *order, runs []engine.Run, places []place) error {
	var ask []int
	for i := range runs {
		runs[i].ID, runs[i].Parent = places[i].id(a.run.ID), a.run.ID
		// To ask for a name costs little, and after a kill first may be wrong.
		if !places[i].sure || places[i].name != "" {
			ask = append(ask, i)
		}
	}
	if len(ask) == 0 {
		a.guard(ctx, n, o, runs)
		return a.store(ctx, n, o, runs)
	}
	found, err := a.find(ctx, n, o, runs, places, ask)
	if err != nil {
		return told(ctx, "find children of run "+a.run.ID.String(), err)
	}
	a.guard(ctx, n, o, runs)
	rest := order{task: o.task, set: o.set, batch: o.batch}
	var missing []engine.Run
	for i := range runs {
		if found[i] {
			continue
		}
		runs[i].Doubt = !places[i].sure
		missing = append(missing, runs[i])
		if o.futures != nil {
			rest.futures = append(rest.futures, o.futures[i])
		}
	}
	if len(missing) > 0 {
		if err := a.store(ctx, n, &rest, missing); err != nil {
			return err
		}
	}
	if o.futures == nil {
		o.ids = ids(runs)
		return nil
	}
	for i, f := range o.futures {
		if !found[i] {
			continue
		}
		f.node, f.id, f.task = n, runs[i].ID, o.task
		if err := f.attach(ctx); err != nil {
			return err
		}
	}
	return nil
}

// store stores children that are guarded.
func (a *attempt) store(ctx context.Context, n *Node, o *order, runs []engine.Run) error {
	err := n.store(ctx, o, runs)
	if engine.CodeOf(err) == CodeFull {
		a.kids.forget(runs)
	}
	return err
}

// find looks for the runs numbered ask and sets each one's id: that of the run
// that succeeded or is under way in its place, or the next free one.
func (a *attempt) find(ctx context.Context, n *Node, o *order, runs []engine.Run, places []place, ask []int) ([]bool, error) {
	found := make([]bool, len(runs))
	for len(ask) > 0 {
		infos := make(map[ID]*engine.Info, len(ask))
		for part := range slices.Chunk(ask, maxIDs) {
			want := make([]ID, len(part))
			for j, i := range part {
				want[j] = runs[i].ID
			}
			have, err := n.eng.Find(ctx, want)
			if err != nil {
				return nil, err
			}
			for j := range have {
				infos[have[j].ID] = &have[j]
			}
		}
		var more []int
		for _, i := range ask {
			in := infos[runs[i].ID]
			if in == nil {
				if !places[i].hop {
					continue // free
				}
				in = &engine.Info{State: Failed} // the retry is forgotten already
			}
			if o.set.named != "" && !in.ID.IsZero() {
				if err := checkNamed(ctx, n, o, runs[i]); err != nil {
					return nil, err
				}
			}
			if in.State != Failed && in.State != Cancelled {
				found[i] = true
				continue
			}
			var err error
			if runs[i].ID, err = places[i].after(a.run.ID, in); err != nil {
				return nil, err
			}
			more = append(more, i)
		}
		ask = more
	}
	return found, nil
}

// after moves on from a child that did not succeed: to the run that somebody
// has made of it by retrying it, or to the next one in its place.
func (p *place) after(parent ID, in *engine.Info) (ID, error) {
	if in.RetriedBy != "" {
		p.hop = true
		return ParseID(in.RetriedBy)
	}
	p.try++
	p.hop = false
	return p.id(parent), nil
}

// checkNamed compares what has the name with what shall have it, as far as the
// former's input is still known.
func checkNamed(ctx context.Context, n *Node, o *order, r engine.Run) error {
	in, err := n.eng.Get(ctx, r.ID)
	if err != nil {
		return err
	}
	if in.Task != o.task || len(in.Input) > 0 && !bytes.Equal(plain(in.Input), plain(r.Input.Data)) {
		return misnamed(o, "of an earlier attempt")
	}
	return nil
}

// plain is JSON as any encoder on its way would have left it.
func plain(b []byte) []byte {
	var out, safe bytes.Buffer
	if json.Compact(&out, b) != nil {
		return b
	}
	json.HTMLEscape(&safe, out.Bytes())
	return safe.Bytes()
}

// Child finds the child of a run that was submitted as [Named] name, by any
// attempt of that run: for a parent that goes on with what it began without
// knowing its inputs any more, and for those that follow a parent from outside.
// Of several runs in that place, because some failed or were cancelled, it gives
// the one that succeeded or is under way, else the last; so Get of what it gives
// may be an error. It is false if no such child is known, which outside of the
// parent may be so for a moment after it was submitted. A child of another task
// is an error with CodeConflict.
func (t Task[In, Out]) Child(ctx context.Context, node *Node, parent ID, name string) (*Future[Out], bool, error) {
	op := "find child " + name + " of run " + parent.String()
	if node.unopened() {
		return nil, false, zeroNode(op)
	}
	if node.isClosed() {
		return nil, false, closed(op)
	}
	var id ID
	err := node.patient(ctx, func() (err error) {
		id, err = node.child(ctx, t.name, parent, name)
		return err
	})
	if err != nil {
		return nil, false, told(ctx, op, err)
	}
	if id.IsZero() {
		return nil, false, nil
	}
	f := new(Future[Out])
	f.node, f.id, f.task = node, id, t.name
	if err := node.patient(ctx, func() error { return f.attach(ctx) }); err != nil {
		return nil, false, err
	}
	return f, true, nil
}

// child is the id that Child finds, zero if there is none.
func (n *Node) child(ctx context.Context, task string, parent ID, name string) (last ID, err error) {
	p := place{name: name}
	for id := p.id(parent); ; {
		infos, err := n.eng.Find(ctx, []ID{id})
		if err != nil {
			return ID{}, err
		}
		in := &engine.Info{State: Failed} // a retry that is forgotten already
		switch {
		case len(infos) > 0:
			in, last = &infos[0], id
			if in.Task != task {
				return ID{}, &Error{Code: CodeConflict, Err: fmt.Errorf("it is a run of %s, not of %s", in.Task, task)}
			}
		case !p.hop:
			return last, nil
		}
		if in.State != Failed && in.State != Cancelled {
			return id, nil
		}
		if id, err = p.after(parent, in); err != nil {
			return ID{}, err
		}
	}
}

func ids(runs []engine.Run) []ID {
	out := make([]ID, len(runs))
	for i := range runs {
		out[i] = runs[i].ID
	}
	return out
}

// guard notes the runs to be cancelled if the attempt's run is.
func (a *attempt) guard(ctx context.Context, n *Node, o *order, runs []engine.Run) {
	if o.set.detached {
		return
	}
	k := &a.kids
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range runs {
		k.ids = append(k.ids, runs[i].ID)
	}
	if k.unset != nil {
		return
	}
	over := make(chan struct{})
	unset := context.AfterFunc(a, func() { //nolint:contextcheck // an attempt is a context, the one that ends it
		defer close(over)
		if !a.cancelled() { //nolint:contextcheck // an attempt is a context, the one that ends it
			return
		}
		k.mu.Lock()
		all := slices.Clone(k.ids)
		k.mu.Unlock()
		n.abandon(context.WithoutCancel(ctx), all)
	})
	k.unset = func() {
		if !unset() {
			<-over
		}
	}
}

// forget takes back what guard has noted of runs that were refused: to cancel
// one that is not there is an error for those beside it.
func (k *children) forget(runs []engine.Run) {
	k.mu.Lock()
	defer k.mu.Unlock()
	gone := make(map[ID]bool, len(runs))
	for i := range runs {
		gone[runs[i].ID] = true
	}
	k.ids = slices.DeleteFunc(k.ids, func(id ID) bool { return gone[id] })
}

// settle ends the guard when the attempt ends; it waits for what it began.
func (k *children) settle() {
	k.mu.Lock()
	unset := k.unset
	k.mu.Unlock()
	if unset != nil {
		unset()
	}
}

// leave notes runs that the next attempt finds again, if there is one.
func (k *children) leave(ids []ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left = append(k.left, ids...)
}

// dropLeft cancels what was left for an attempt that an outcome rules out.
func (a *attempt) dropLeft(ctx context.Context, o *engine.Outcome) {
	a.kids.mu.Lock()
	left := a.kids.left
	a.kids.mu.Unlock()
	if len(left) > 0 && a.run.After(*o, time.Now()).State.Terminal() {
		a.node.abandon(context.WithoutCancel(ctx), left)
	}
}
