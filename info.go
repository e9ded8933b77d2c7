package faena

import "github.com/faena-dev/faena/engine"

// ID names a run. Ids order as the times they were made, to list by; they print
// as 26 lower-case letters and digits, safe in URLs and file names.
type ID = engine.ID

// ParseID reads what ID.String wrote, in any case.
func ParseID(s string) (ID, error) { return engine.ParseID(s) }

// State of a run. Scheduled, Queued, Running, Waiting and Retrying runs are
// open; the other states are for ever.
type State = engine.State

// The states of a run.
const (
	Scheduled = engine.Scheduled // waits for its time
	Queued    = engine.Queued    // waits for a slot
	Running   = engine.Running   // an attempt is under way
	Waiting   = engine.Waiting   // running, without a slot, until other runs end
	Retrying  = engine.Retrying  // waits for its next attempt
	Succeeded = engine.Succeeded
	Failed    = engine.Failed
	Cancelled = engine.Cancelled
)

// Orders of lists. All but OrderCreated look at each run that is selected, some
// tenths of a second for a million, and give one page, without a cursor.
const (
	OrderCreated = engine.OrderCreated // created last comes first
	OrderNext    = engine.OrderNext    // scheduled and retrying runs, whose time comes next first
	OrderEnded   = engine.OrderEnded   // ended runs, what ended last comes first
)

// States lists all states in their order.
func States() []State { return engine.States() }

// ParseState reads what State.String wrote.
func ParseState(name string) (State, error) { return engine.ParseState(name) }

// What is known of runs, queues, nodes and the engine.
type (
	// Info is all that is known of a run.
	Info = engine.Info
	// Failure is why an attempt or a run did not succeed.
	Failure = engine.Failure
	// ProgressInfo is how far an attempt has come.
	ProgressInfo = engine.Progress
	// Tag is a pair of strings that runs are filtered by.
	Tag = engine.Tag
	// Query selects runs; its zero value selects all but the failed ones that
	// were retried.
	Query = engine.Query
	// Order is in which runs come of those that a Query selects.
	Order = engine.Order
	// Page is a part of a list; see [Node.Page].
	Page = engine.Page
	// Count is how many runs of a task in a queue are in a state.
	Count = engine.Count
	// QueueInfo is the state of a queue.
	QueueInfo = engine.QueueInfo
	// NodeInfo is one live faena process.
	NodeInfo = engine.NodeInfo
	// Route is a task that a worker takes from a queue.
	Route = engine.Route
	// Status is the state of the engine.
	Status = engine.Status
)
