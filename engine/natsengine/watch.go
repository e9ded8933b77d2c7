package natsengine

import (
	"maps"
	"slices"
	"sync"

	"github.com/faena-dev/faena/engine"
)

// watches are those who wait for runs' ends, in shards so that submitters and the
// follower seldom meet. A batch has as many as runs, until they end: one that
// waits by itself is held in the map, which costs no object of its own.
type watches [64]watchShard

type watchShard struct {
	mu sync.Mutex
	m  map[engine.ID]watch
}

// watch is told of one run's end, once.
type watch struct {
	first engine.Waiter
	more  *moreWatch
}

// moreWatch is what few watches have.
type moreWatch struct {
	rest []engine.Waiter
	hold *engine.Record // first end seen while Attach asks the index
	held int            // calls of Attach that ask
}

func (w *watches) init() {
	for i := range w {
		w[i].m = map[engine.ID]watch{}
	}
}

func (w *watches) shard(id engine.ID) *watchShard { return &w[(id[11]^id[15])&63] }

// add registers a waiter; hold keeps it from being told until release.
func (w *watches) add(id engine.ID, who engine.Waiter, hold bool) {
	s := w.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.m[id]
	if v.more == nil && (hold || v.first != nil) {
		v.more = &moreWatch{}
	}
	if v.first == nil {
		v.first = who
	} else {
		v.more.rest = append(v.more.rest, who)
	}
	if hold {
		v.more.held++
	}
	s.m[id] = v
}

func (w *watches) remove(id engine.ID, who engine.Waiter) {
	s := w.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[id]
	if !ok {
		return
	}
	if v.first == who {
		v.first = nil
		if v.more != nil && len(v.more.rest) > 0 {
			v.first, v.more.rest = v.more.rest[0], v.more.rest[1:]
		}
	} else if v.more != nil {
		if i := slices.Index(v.more.rest, who); i >= 0 {
			v.more.rest = slices.Delete(v.more.rest, i, i+1)
		}
	}
	s.keep(id, v)
}

// keep stores a watch, or forgets one that nobody needs.
func (s *watchShard) keep(id engine.ID, v watch) {
	if v.first == nil && (v.more == nil || v.more.held == 0) {
		delete(s.m, id)
		return
	}
	s.m[id] = v
}

// open are the runs that are waited for.
func (w *watches) open() (ids []engine.ID) {
	for i := range w {
		s := &w[i]
		s.mu.Lock()
		ids = slices.AppendSeq(ids, maps.Keys(s.m))
		s.mu.Unlock()
	}
	return ids
}

// ask holds a watch for release, if it is still there.
func (w *watches) ask(id engine.ID) bool {
	s := w.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[id]
	if !ok {
		return false
	}
	if v.more == nil {
		v.more = &moreWatch{}
	}
	v.more.held++
	s.m[id] = v
	return true
}

// stored are those who wait for a run that has been stored, and can be told that
// it is forgotten.
func (w *watches) stored(id engine.ID) (who []engine.Waiter) {
	s := w.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.m[id]
	add := func(one engine.Waiter) {
		if f, ok := one.(engine.Forgetter); ok && f.Stored() {
			who = append(who, one)
		}
	}
	add(v.first)
	if v.more != nil {
		for _, one := range v.more.rest {
			add(one)
		}
	}
	return who
}

// forgotten tells those who wait for a run that nobody knows it. Attach asks for
// itself.
func (w *watches) forgotten(id engine.ID, who []engine.Waiter) {
	s := w.shard(id)
	s.mu.Lock()
	v := s.m[id]
	asks := v.more != nil && v.more.held > 0
	s.mu.Unlock()
	if asks {
		return
	}
	for _, one := range who {
		if f, ok := one.(engine.Forgetter); ok {
			w.remove(id, one)
			f.Forgotten()
		}
	}
}

// take gives those who are to be told of a run's end, and forgets them; or it
// says that Attach asks the index: then hold is for the end.
func (w *watches) take(id engine.ID) (v watch, held bool) {
	s := w.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[id]
	if !ok {
		return v, false
	}
	if v.more != nil && v.more.held > 0 {
		return v, true
	}
	delete(s.m, id)
	return v, false
}

// hold keeps a run's end for release, unless that was before.
func (w *watches) hold(r *engine.Record) {
	s := w.shard(r.ID)
	s.mu.Lock()
	v := s.m[r.ID]
	if v.more != nil && v.more.held > 0 {
		if v.more.hold == nil {
			v.more.hold = r
		}
		s.mu.Unlock()
		return
	}
	delete(s.m, r.ID)
	s.mu.Unlock()
	v.tell(r)
}

func (v watch) tell(r *engine.Record) {
	if v.first != nil {
		v.first.Resolve(r)
	}
	if v.more != nil {
		for _, who := range v.more.rest {
			who.Resolve(r)
		}
	}
}

// release ends one hold. The record that the index knows, if any, wins over one
// seen meanwhile: it stands before it in the log.
func (w *watches) release(id engine.ID, known *engine.Record) {
	s := w.shard(id)
	s.mu.Lock()
	v := s.m[id]
	if v.more == nil {
		s.mu.Unlock()
		return
	}
	v.more.held--
	if known != nil {
		v.more.hold = known
	}
	if v.more.held > 0 && known == nil || v.more.hold == nil {
		s.keep(id, v)
		s.mu.Unlock()
		return
	}
	delete(s.m, id)
	s.mu.Unlock()
	v.tell(v.more.hold)
}
