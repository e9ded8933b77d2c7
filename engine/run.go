package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State of a run. Scheduled, queued, running and retrying runs are open; the
// other states are for ever.
type State uint8

// The states of a run.
const (
	Scheduled State = iota + 1 // waits for its time
	Queued                     // waits for a slot
	Running                    // an attempt is under way
	Waiting                    // running, without a slot, until other runs end
	Retrying                   // waits for its next attempt
	Succeeded
	Failed
	Cancelled
)

// States lists all states in their order.
func States() []State {
	return []State{Scheduled, Queued, Running, Waiting, Retrying, Succeeded, Failed, Cancelled}
}

// Terminal tells whether a run in this state has ended.
func (s State) Terminal() bool { return s >= Succeeded }

func (s State) String() string {
	switch s {
	case Scheduled:
		return "scheduled"
	case Queued:
		return "queued"
	case Running:
		return "running"
	case Waiting:
		return "waiting"
	case Retrying:
		return "retrying"
	case Succeeded:
		return "succeeded"
	case Failed:
		return "failed"
	case Cancelled:
		return "cancelled"
	default:
		return fmt.Sprintf("state(%d)", uint8(s))
	}
}

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseState.
func (s *State) UnmarshalText(b []byte) (err error) {
	*s, err = ParseState(string(b))
	return err
}

// ParseState reads what String wrote.
func ParseState(name string) (State, error) {
	var names []string
	for _, s := range States() {
		if s.String() == name {
			return s, nil
		}
		names = append(names, s.String())
	}
	return 0, &Error{Code: CodeInvalid, Op: "read state", Err: fmt.Errorf("%q is not a state: want one of %s", name, strings.Join(names, ", "))}
}

// Tag is a pair of strings that runs are filtered by.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Retry is how often and when a failed attempt is followed by another.
type Retry struct {
	Attempts uint16        // in all; at least 1
	Base     time.Duration // before the second attempt; doubled for each further one
	Cap      time.Duration // longest wait
}

// Value is an input or output: in place, or stored apart under the run's id.
type Value struct {
	Data  []byte
	Apart bool
	Size  int64  // bytes, if Apart
	Name  string // under which it is stored, if Apart
}

// Run is the envelope of one execution asked for: all a worker needs.
type Run struct {
	ID          ID
	Queue, Task string
	Rev         uint32 // messages written for the run before this one
	Attempt     uint16 // attempts charged so far
	Deaths      uint8  // workers that died while executing it, as recorded so far
	Doubt       bool   // it may be, or have been, under way elsewhere: ask first
	Detached    bool   // goes on when the parent is cancelled
	At          int64  // unix ms before which it does not start; 0 for at once
	Deadline    int64  // unix ms after which it does not go on; 0 for never
	Timeout     time.Duration
	Retry       Retry
	Keep        [2]uint32 // seconds that a succeeded or cancelled, and a failed run is kept
	Parent      ID
	RetryOf     ID
	Trace       string // W3C traceparent
	Tags        []Tag
	Failure     *Failure // of the last attempt
	Input       Value
}

// Failure is why an attempt or a run did not succeed.
type Failure struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Stack   string `json:"stack,omitempty"`
}

// Record is how a run ended. It repeats what the index holds of the run.
type Record struct {
	ID          ID
	State       State
	Queue, Task string
	Rev         uint32
	Attempt     uint16 // attempts charged, this one included
	Deaths      uint8
	Keep        uint32 // seconds
	Start, End  int64  // unix ms; Start 0 if it never began
	Src         uint8  // which stream its message stood in
	SrcSeq      uint64 // and where
	CopySeq     uint64 // where a copy of it and of its envelope is kept; 0 for nowhere
	Parent      ID
	RetryOf     ID
	Tags        []Tag
	Failure     *Failure
	Output      Value
}

// Progress is how far an attempt has come.
type Progress struct {
	Done float64 `json:"done"` // 0 to 1
	Text string  `json:"text,omitempty"`
}

// Outcome is how an attempt went. The zero value is success without output.
type Outcome struct {
	Output      []byte
	Failure     *Failure // nil for success
	Permanent   bool     // the failure must not be retried
	Snooze      time.Duration
	Interrupted bool // by shutdown or a lost lease: run it again, uncharged
}

// Info is all that is known of a run.
type Info struct {
	ID         ID                `json:"id"`
	State      State             `json:"state"`
	Queue      string            `json:"queue"`
	Task       string            `json:"task"`
	Attempt    int               `json:"attempt"`
	Attempts   int               `json:"attempts,omitempty"` // at most; 0 if not known any more
	Deaths     int               `json:"deaths,omitempty"`
	Created    time.Time         `json:"created"`      // of a child: when its parent was
	At         *time.Time        `json:"at,omitempty"` // of the next attempt
	Started    *time.Time        `json:"started,omitempty"`
	Ended      *time.Time        `json:"ended,omitempty"`
	Deadline   *time.Time        `json:"deadline,omitempty"`
	Node       string            `json:"node,omitempty"`
	Progress   *Progress         `json:"progress,omitempty"`
	Parent     string            `json:"parent,omitempty"`
	RetryOf    string            `json:"retry_of,omitempty"`
	RetriedBy  string            `json:"retried_by,omitempty"`
	Waits      string            `json:"waits,omitempty"` // why it does not run yet
	Tags       map[string]string `json:"tags,omitempty"`
	Error      *Failure          `json:"error,omitempty"`
	Input      json.RawMessage   `json:"input,omitempty"`
	InputSize  int64             `json:"input_size,omitempty"` // bytes, if it is stored apart
	Output     json.RawMessage   `json:"output,omitempty"`
	OutputSize int64             `json:"output_size,omitempty"` // bytes, if it is stored apart
}

// Query selects runs. Zero fields select all.
type Query struct {
	States  []State   `json:"states,omitempty"`
	Queue   string    `json:"queue,omitempty"`
	Task    string    `json:"task,omitempty"`
	Tags    []Tag     `json:"tags,omitempty"`
	From    time.Time `json:"from,omitzero"`     // created at or after
	To      time.Time `json:"to,omitzero"`       // created before
	Retried bool      `json:"retried,omitempty"` // failed runs that were retried, too
	Order   Order     `json:"order,omitempty"`
	Cursor  string    `json:"cursor,omitempty"`
	Limit   int       `json:"limit,omitempty"` // default 50, at most 500
}

// Order is in which runs come of those that a Query selects. All but OrderCreated
// look at each of these runs, some tenths of a second for a million, and give one
// page, without a cursor.
type Order string

// Orders.
const (
	OrderCreated Order = ""      // created last comes first
	OrderNext    Order = "next"  // scheduled and retrying runs, whose time comes next first
	OrderEnded   Order = "ended" // ended runs, what ended last comes first
)

// states are those that an order is of, nil for all.
func (o Order) states() []State {
	switch o {
	case OrderNext:
		return []State{Scheduled, Retrying}
	case OrderEnded:
		return []State{Succeeded, Failed, Cancelled}
	case OrderCreated:
	}
	return nil
}

// Check refuses what no run can meet because it is no state, a time that JSON has
// no form for, and what an order does not go with. It fills in the states of an
// order.
func (q *Query) Check() error {
	switch of := q.Order.states(); {
	case q.Order == OrderCreated:
	case of == nil:
		return &Error{Code: CodeInvalid, Op: "list", Err: fmt.Errorf("%q is not an order: want %q or %q, or none", string(q.Order), OrderNext, OrderEnded)}
	case q.Cursor != "":
		return &Error{Code: CodeInvalid, Op: "list", Err: fmt.Errorf("a list in the order %q has one page, and no cursor", string(q.Order))}
	case len(q.States) == 0:
		q.States = of
	default:
		for _, s := range q.States {
			if !slices.Contains(of, s) {
				return &Error{Code: CodeInvalid, Op: "list", Err: fmt.Errorf("%v runs have no place in the order %q", s, string(q.Order))}
			}
		}
	}
	for _, s := range q.States {
		if s < Scheduled || s > Cancelled {
			return &Error{Code: CodeInvalid, Op: "list", Err: fmt.Errorf("%d is not a state", uint8(s))}
		}
	}
	for _, t := range []time.Time{q.From, q.To} {
		if y := t.UTC().Year(); y < 0 || y > 9999 {
			return &Error{Code: CodeInvalid, Op: "list", Err: fmt.Errorf("a time in the year %d: want one of the years 0 to 9999", y)}
		}
	}
	return nil
}

// Page is part of a list, in the order of its Query. A list tells of a run what the index and
// heartbeats hold: no Parent, Attempts, Deadline, Waits, Input and Output, no Stack,
// of an error's message the first 160 bytes with its code, and as Deaths those of
// an open run since it was queued last. Get tells all.
type Page struct {
	Runs []Info `json:"runs"`
	Next string `json:"next,omitempty"`
}

// Count is how many runs of a task in a queue are in a state, and for a terminal
// state how many have ended in it since the process that holds the store started,
// whether they are kept or not. N is 0 where only Finished is not.
type Count struct {
	Queue    string `json:"queue"`
	Task     string `json:"task"`
	State    State  `json:"state"`
	N        int64  `json:"n"`
	Finished int64  `json:"finished,omitempty"`
}

// QueueInfo is the state of a queue.
type QueueInfo struct {
	Name    string           `json:"name"`
	Paused  bool             `json:"paused"`
	Workers int              `json:"workers"` // nodes that take from it
	Counts  map[string]int64 `json:"counts"`  // runs by state
}

// NodeInfo is one live faena process.
type NodeInfo struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Version string    `json:"version,omitempty"`
	Since   time.Time `json:"since"`
	Slots   int       `json:"slots"`
	Busy    int       `json:"busy"`
	Waiting int       `json:"waiting"`
	Queues  []string  `json:"queues"`
	Tasks   []string  `json:"tasks"`
	Routes  []Route   `json:"routes,omitempty"` // each Worker.Handle
}

// Route is a task that a worker takes from a queue.
type Route struct {
	Queue string `json:"queue"`
	Task  string `json:"task"`
}

// Status is the state of the engine.
type Status struct {
	Engine     string        `json:"engine"` // embedded or external
	Server     string        `json:"server"` // nats-server's version
	Durability string        `json:"durability"`
	Verified   bool          `json:"verified"`         // the mode holds for all that this process knows
	Detail     string        `json:"detail,omitempty"` // what may be lost, or why it is not verified
	IndexLag   int64         `json:"index_lag"`        // messages not applied yet
	Accepting  bool          `json:"accepting"`        // false: out of space
	Damaged    int64         `json:"damaged"`          // stored messages, and runs, found unreadable since its owner started
	Dir        string        `json:"dir,omitempty"`
	Node       string        `json:"node"`
	Started    time.Time     `json:"started"`
	Retention  time.Duration `json:"-"`
}
