// Package engine is the port between faena's public API and what stores and
// moves runs. It speaks bytes, never types, and makes no compatibility promise:
// programs use package faena.
//
// An [Engine] stores runs, hands them to workers under a lease, and records one
// terminal record per run for ever: the first in log order wins, whoever wrote
// it, so two workers finishing, a cancel against a finish and a finish against a
// crash are all decided by one rule.
package engine

import (
	"context"
	"time"
)

// An Engine is one process's access to a cluster. All methods may be called
// concurrently.
type Engine interface {
	Submitter
	Watcher
	Reader
	Control

	// Work starts this process's worker: it takes runs of the tasks that are
	// then announced with Worker.Handle. An engine has at most one at a time.
	Work(WorkOptions) (Worker, error)

	// Done is closed when the engine is closed or cannot go on; Err then tells why.
	Done() <-chan struct{}
	Err() error

	// Close releases everything; it waits for writes under way, not for
	// attempts (stop the worker first), and may be called twice.
	Close() error
}

// Submitter accepts runs. Both calls return when the runs are durable in the
// engine's mode, and block when the engine is at a limit, until ctx ends.
type Submitter interface {
	// Submit stores each run on its own. On an error some may be stored; to
	// submit the same ids again with Doubt set is safe.
	Submit(ctx context.Context, runs []Run) error
	// SubmitBatch stores all runs or none; they share one queue.
	SubmitBatch(ctx context.Context, runs []Run) error
}

// Watcher tells of ends of runs. The records it gives, with all they point to,
// are the waiter's to keep.
type Watcher interface {
	// Watch tells w once of the run's end. It knows only of ends after the call:
	// it is for runs about to be submitted. Unwatch forgets that w waits.
	Watch(id ID, w Waiter)
	Unwatch(id ID, w Waiter)
	// Attach is Watch for a run anyone submitted at any time. An id nobody
	// knows is an error with CodeNotFound.
	Attach(ctx context.Context, id ID, w Waiter) error
	// Output is the result of a succeeded run, fetched if it is stored apart.
	Output(ctx context.Context, r *Record) ([]byte, error)
}

// A Waiter waits for a run's end. Waiters are compared: a pointer is one. Resolve
// must not block.
type Waiter interface{ Resolve(r *Record) }

// A Forgetter is a waiter that can wait for a run of which nobody knows any more,
// as one that ended while the connection was lost, for longer than it was kept.
// Stored tells whether its run has been stored: of one that is only about to be
// submitted nobody knows, either. It is called first, and must not block. Forgotten
// tells those whose run had been stored by then that it is not known any more.
type Forgetter interface {
	Stored() bool
	Forgotten()
}

// WaiterFunc makes a waiter of a function.
func WaiterFunc(fn func(*Record)) Waiter { return &waiterFunc{fn} }

type waiterFunc struct{ fn func(*Record) }

func (w *waiterFunc) Resolve(r *Record) { w.fn(r) }

// Reader reads what is known of runs. Where no process that holds an index can
// be reached, or the connection is lost, its errors have CodeUnavailable; if ctx
// ends they wrap its error and its cause, and have no code. What this process
// wrote before the call is seen.
type Reader interface {
	Get(ctx context.Context, id ID) (*Info, error)
	// Input is a run's input, fetched if it is stored apart. That of a run that has
	// succeeded is gone, and the error has CodeNotFound.
	Input(ctx context.Context, id ID) ([]byte, error)
	// Find is Get for many, without inputs and outputs, in any order; ids that
	// nobody knows are left out. It is what a parent finds its children by.
	Find(ctx context.Context, ids []ID) ([]Info, error)
	// List gives one page, with what Page says of each run; an empty Page.Next ends.
	List(ctx context.Context, q Query) (*Page, error)
	Counts(ctx context.Context) ([]Count, error)
	Queues(ctx context.Context) ([]QueueInfo, error)
	Nodes(ctx context.Context) ([]NodeInfo, error)
	Status(ctx context.Context) (*Status, error)
}

// Control changes runs and queues.
type Control interface {
	// Cancel ends runs that have not ended as cancelled. It returns for each
	// the state that holds now: cancelled, or the one it had ended in before.
	Cancel(ctx context.Context, ids []ID) ([]State, error)
	// Retry submits each failed or cancelled run again as a new one and marks
	// the old one. It gives the new ids, in order; one that is given twice is
	// retried once. If one of them cannot be retried none is.
	Retry(ctx context.Context, ids []ID) ([]ID, error)
	// Pause stops deliveries of a queue everywhere, for good; Resume starts them.
	Pause(ctx context.Context, queue string) error
	Resume(ctx context.Context, queue string) error
}

// WorkOptions configure a worker.
type WorkOptions struct {
	Slots   int    // attempts executed at a time; default GOMAXPROCS
	Waiting int    // runs that may wait for others without a slot; default 10000
	Deaths  int    // of workers, after which a run is lost; default MaxDeaths, at most 200
	Name    string // of the node, for people; default host and pid
	Version string // of the program, for people
	// Exec makes one attempt. It is called on a goroutine of its own, must not
	// panic, and should return soon after ctx ends. It may return while the
	// lease has yielded its slot: then there is none to free. A handler may end
	// the goroutine (runtime.Goexit): then Exec does not return, and the attempt
	// has failed with CodePanic. Goroutines should be reused: a new one's stack
	// grows for each attempt.
	Exec func(ctx context.Context, a *Attempt) Outcome
}

// Worker executes runs.
type Worker interface {
	// Handle starts to take runs of a task from a queue.
	Handle(ctx context.Context, queue, task string) error
	// Stop takes no more, hands back at once what has not begun, and waits for
	// attempts until ctx ends; then it cancels their contexts with ErrShutdown
	// and waits a little more. Runs it interrupts run again, uncharged; so do those
	// whose outcomes cannot be stored by then.
	Stop(ctx context.Context) error
}

// Attempt is one try of a run on this node. When it is over the engine may change
// Rev, Attempt, Deaths, Doubt, At and Failure of Run, and nothing else.
type Attempt struct {
	Run     *Run
	Input   []byte
	Started time.Time
	Lease   Lease
}

// Lease is an attempt's hold on its run.
type Lease interface {
	// Yield gives the slot back while the run waits for others, or fails with
	// CodeLimit if too many wait already; Regain takes one again, before any
	// run that has not begun. They are called in turn, Yield first.
	Yield() error
	Regain(ctx context.Context) error
	// Progress is kept while the run is not finished. It never blocks; of many
	// within 250 ms the last counts.
	Progress(p Progress)
	// Checkpoint saves what Resume gives to the next attempt. It is throttled:
	// of many within a second the last counts, and one at the attempt's end.
	Checkpoint(v []byte)
	// Resume is the last checkpoint, nil if there is none.
	Resume(ctx context.Context) ([]byte, error)
}
