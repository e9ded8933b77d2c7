package faena

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"
)

// cheap is what a checkpoint may cost at each call. A dearer one is encoded as
// seldom as save says.
const cheap = 5 * time.Microsecond

// save throttles checkpoints before they are encoded, and holds what the attempt's
// end is to store.
type save struct {
	mu   sync.Mutex
	next time.Time     // before which they are held back
	cost time.Duration // of the one that was encoded last
	held any           // json.RawMessage, or a value that nobody else can change
	some bool          // held is something

	of    reflect.Type // of the last one
	plain bool         // it points to nothing
}

// checkpoint never holds what the handler can still change: it might be changed
// while it is encoded, and would not be what was given.
func (a *attempt) checkpoint(v any) error {
	s := &a.save
	s.mu.Lock()
	defer s.mu.Unlock()
	begun := time.Now()
	early := begun.Before(s.next)
	if early && s.isPlain(v) {
		s.held, s.some = v, true
		return nil
	}
	if early && s.cost > cheap {
		return nil
	}
	b, err := a.encodeCheckpoint(v)
	if err != nil {
		return err
	}
	if early {
		s.held, s.some = json.RawMessage(b), true
		return nil
	}
	s.held, s.some = nil, false
	a.lease.Checkpoint(b)
	now := time.Now()
	s.cost = now.Sub(begun)
	s.next = now.Add(min(max(20*s.cost, time.Millisecond), time.Second))
	return nil
}

func (a *attempt) encodeCheckpoint(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint of run %s: %w", a.run.ID, err)
	}
	if int64(len(b)) > a.node.opts.MaxInput {
		return nil, tooLarge("checkpoint of run "+a.run.ID.String(), len(b), a.node.opts.MaxInput, "MaxInput")
	}
	return b, nil
}

// isPlain tells whether v points to nothing that could be changed.
func (s *save) isPlain(v any) bool {
	if t := reflect.TypeOf(v); t != s.of {
		s.of, s.plain = t, plainType(t)
	}
	return s.plain
}

func plainType(t reflect.Type) bool {
	if t == nil {
		return true
	}
	switch k := t.Kind(); k {
	case reflect.Array:
		return plainType(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if !plainType(f.Type) {
				return false
			}
		}
		return true
	default:
		return k == reflect.String || k >= reflect.Bool && k <= reflect.Float64
	}
}

// dropHeld is for an attempt that no other follows.
func (s *save) dropHeld() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.some = nil, false
}

// saveHeld gives the lease what the throttle has held back.
func (a *attempt) saveHeld() {
	s := &a.save
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.some {
		return
	}
	v := s.held
	s.held, s.some = nil, false
	defer func() {
		if p := recover(); p != nil { // a method of v
			a.node.report(fmt.Errorf("encode checkpoint of run %s: %w", a.run.ID, panicked(p)))
		}
	}()
	b, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if b, err = a.encodeCheckpoint(v); err != nil {
			a.node.report(err)
			return
		}
	}
	a.lease.Checkpoint(b)
}
