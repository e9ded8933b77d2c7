package web

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/faena-dev/faena"
)

// View is what a page shows; each embeds a Frame.
type View interface{ Base() *Frame }

// Frame is what surrounds every page.
type Frame struct {
	Title      string
	Section    string // home, tasks, runs or api
	Live       bool   // the page is drawn again while it is looked at
	Host       string // that it was asked by
	State      string // of the node; empty if it was not asked
	Reasons    []string
	Version    string
	Node       string
	Engine     string
	Server     string
	Durability string
	Verified   bool
	Detail     string // of the durability
	Uptime     time.Duration
	Requests   int64
	IndexLag   int64
}

// Base makes a Frame, and what embeds one, a View.
func (f *Frame) Base() *Frame { return f }

// Note adds to the reasons what could not be shown; nil adds nothing, and so does
// what stands there already.
func (f *Frame) Note(err error) {
	if err != nil && !slices.Contains(f.Reasons, err.Error()) {
		f.Reasons = append(f.Reasons, err.Error())
	}
}

// Failed is the view of an error.
type Failed struct {
	Frame
	Status               int
	Name, Detail, Remedy string
}

// Home is the view of the home page.
type Home struct {
	Frame
	Mood     string // busy, waiting, idle, empty or degraded
	Active   int64  // runs that it speaks of
	Counts   []StateCount
	Chart    Chart
	Rate     float64 // finished a second, over the last minute
	Peak     float64
	Done     int64 // finished within the chart
	Queues   []faena.QueueInfo
	Nodes    []faena.NodeInfo
	Failures []faena.Info
	Running  []faena.Info
}

// StateCount is how many runs are in a state.
type StateCount struct {
	State string
	N     int64
}

// Tasks is the view of background work.
type Tasks struct {
	Frame
	Running, Scheduled, Queued, Finished     []Work
	Last                                     []Work // of each task with open runs the last that ended
	NRunning, NScheduled, NQueued, NFinished int64
}

// Work is one run among background work.
type Work struct {
	faena.Info
	Last *Result
}

// Result is how a run ended, or its last attempt.
type Result struct {
	ID     string
	State  string
	Ended  *time.Time
	Error  *faena.Failure
	Output string
}

// Runs is the view of a list of runs.
type Runs struct {
	Frame
	States []string
	Only   Filter
	Runs   []faena.Info
	Next   string // the URL of the next page, or empty
	First  string // the URL of the first page, if this is not it
	Narrow bool   // a filter is set
}

// Filter is what a list of runs is narrowed to.
type Filter struct {
	State, Queue, Task, Tag string
	Retried                 bool // runs that were retried, too
}

// Run is the view of one run.
type Run struct {
	Frame
	Run       faena.Info
	CanCancel bool
	CanRetry  bool
}

// API is the view of the API's routes.
type API struct {
	Frame
	Groups []Group
}

// Group is routes that belong together.
type Group struct {
	Name   string
	Routes []Route
}

// Route is one route, as people read it.
type Route struct{ Method, Path, Summary string }

// Chart is a bar for each span of time, oldest first.
type Chart struct {
	Width, Height int
	Bars          []Bar
}

// Bar is one bar of a chart; Good is drawn below Bad.
type Bar struct {
	X, W, GoodY, GoodH, BadY, BadH float64
}

// Draw makes a chart of pairs: what ended well, and what did not.
func Draw(good, bad []int64) Chart {
	c := Chart{Width: 10 * len(good), Height: 100, Bars: make([]Bar, len(good))}
	top := int64(1)
	for i := range good {
		top = max(top, good[i]+bad[i])
	}
	for i := range good {
		g, b := bar(good[i], top), bar(bad[i], top)
		if g+b > 100 { // least heights add up
			g = 100 - b
		}
		c.Bars[i] = Bar{X: float64(10*i) + 1, W: 8, GoodY: 100 - g, GoodH: g, BadY: 100 - g - b, BadH: b}
	}
	return c
}

// bar is a height of 100 at most, and one that can be seen if there is anything.
func bar(n, top int64) float64 {
	if n == 0 {
		return 0
	}
	return max(3, 100*float64(n)/float64(top))
}

// pretty is JSON as people read it, each number and text as it was written.
func pretty(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}
