// Package faena runs background work durably. A [Task] is a named, typed
// contract; a run is one execution of it that somebody asked for; a [Future] is
// a handle on the run's result, from any process, at any time.
//
//	var Scrape = faena.Define[Page, Text]("scrape", faena.Retry(5, time.Second))
//
//	node, err := faena.Open(ctx, eng, faena.Options{})
//	err = node.Handle(Scrape.With(scrape))           // a worker
//	fut, err := Scrape.Go(ctx, node, Page{URL: url}) // a client
//	text, err := fut.Get(ctx)
//
// # Promises
//
// When Go, Batch or Submit return without an error the run is stored, as safely
// as the engine's durability mode says. From then on it is executed at least
// once and ends exactly once: as succeeded, failed or cancelled, for ever. An
// attempt whose worker dies is made again elsewhere, so handlers should bear
// being executed twice; what they return twice is kept once.
//
// A node executes at most Options.Slots attempts at a time. An attempt that
// waits for other runs (Get, All, First, AsCompleted, Map) gives its slot back
// while at least one of its goroutines waits, so tasks may wait for each other
// to any depth with a single slot. See [Future.Get].
//
// Runs submitted inside a handler, with the context it was given, are children
// of its run: their ids derive from the parent's, so that a parent that is
// executed again finds the children it has already started. Those that
// succeeded or are under way are taken as they are, those that failed or were
// cancelled are started anew. Cancelling a parent cancels its children, unless
// they are [Detached].
//
// # Defaults
//
// Options are given at the definition as defaults and at the call to override.
//
//	Queue          "default"
//	Retry          5 attempts, the first wait 1 s, doubled each time
//	RetryCap       1 h
//	Timeout        1 h per attempt
//	Deadline       none
//	In, At         at once
//	Tags           none
//	Keep           24 h if it succeeded or was cancelled, 30 days if it failed
//	Window         64
//	Detached       no
//	Named          no
//	WaitForWorker  no (it matters to [Node.Submit] alone)
//
// Inputs and outputs are JSON, as encoding/json writes it.
package faena
