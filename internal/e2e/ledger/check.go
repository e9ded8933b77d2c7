package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Final is what faena says of a run in the end.
type Final struct {
	ID    string
	State string
	Value string // result, or the code of the failure
	Batch string
	Size  int // runs of its batch
}

// Rules are what Check holds a ledger against.
type Rules struct {
	// Lag is how long after a run's end was told a handler may still start: it
	// had decided to before. Zero for not at all.
	Lag time.Duration
	// CancelLag is the same after an answered cancel.
	CancelLag time.Duration
	// Deaths is how many workers must die of a run before it is given up.
	Deaths int
	// Cuts are the moments of power cuts, and Window what each may take: what was
	// told in the Window before a Cut may be gone or different.
	Cuts   []int64
	Window time.Duration
}

// Report is what Check found. Nothing is wrong if Bad is empty.
type Report struct {
	Acked, Batches int            // runs and batches that were acknowledged
	Runs           int            // runs in the record, acknowledged or not
	Shown, Cancels int            // ends shown, cancels answered
	Refused        int            // submissions that were not acknowledged
	Starts         int            // of handlers
	Beyond         int            // starts beyond one that the run's plan does not ask for
	Excused        int            // what a power cut may take, and took
	Late           int            // starts within the lag after an end
	Ends           map[string]int // runs by terminal state
	Lost           int            // runs given up because workers died
	Bad            []string
	LateMost       time.Duration // longest lag of a start after an end
	CancelMost     time.Duration // the same after a cancel

	runs     map[string]*run
	r        Rules
	finals   map[string]Final
	batches  map[string][2]int // found, wanted
	problems int
}

// run is what the ledger tells of one run.
type run struct {
	plan     string
	acked    int64 // 0: never
	notTill  int64
	cancel   int64 // first answer that it is cancelled
	end      int64 // first time an end was shown
	endState string
	starts   []Entry
	ended    []Entry
}

// maxBad bounds the findings kept; all are counted.
const maxBad = 50

func (p *Report) bad(format string, args ...any) {
	if p.problems++; p.problems <= maxBad {
		p.Bad = append(p.Bad, fmt.Sprintf(format, args...))
	}
}

// Check compares ledgers with two answers of faena, read at different times: as
// the record must not change, they must be the same.
func Check(entries []Entry, first, again []Final, r Rules) *Report {
	p := &Report{Ends: map[string]int{}, runs: map[string]*run{}, finals: map[string]Final{}, batches: map[string][2]int{}, r: r}
	p.readFinals(first)
	p.compare(again)
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(a.At, b.At) })
	for i := range entries {
		p.entry(&entries[i])
	}
	for id, v := range p.runs {
		p.run(id, v)
	}
	for name, n := range p.batches {
		if n[0] != n[1] {
			p.bad("batch %s: %d of its %d runs are in the record", name, n[0], n[1])
		}
	}
	if p.problems > maxBad {
		p.Bad = append(p.Bad, fmt.Sprintf("and %d more", p.problems-maxBad))
	}
	return p
}

func (p *Report) readFinals(first []Final) {
	for _, f := range first {
		if _, ok := p.finals[f.ID]; ok {
			p.bad("run %s stands twice in the record", f.ID)
		}
		p.finals[f.ID] = f
		p.Runs++
		p.Ends[f.State]++
		if f.State == "failed" && f.Value == "lost" {
			p.Lost++
		}
		switch f.State {
		case "succeeded", "failed", "cancelled":
		default:
			p.bad("run %s is %s: it has not ended", f.ID, f.State)
		}
		if f.Batch != "" {
			n := p.batches[f.Batch]
			p.batches[f.Batch] = [2]int{n[0] + 1, f.Size}
		}
	}
}

// compare holds a second answer against the first.
func (p *Report) compare(again []Final) {
	seen := map[string]bool{}
	for _, f := range again {
		seen[f.ID] = true
		if was, ok := p.finals[f.ID]; !ok {
			p.bad("run %s came into the record after all had ended", f.ID)
		} else if was != f {
			p.bad("run %s changed: %s %q, then %s %q", f.ID, was.State, was.Value, f.State, f.Value)
		}
	}
	for id := range p.finals {
		if !seen[id] {
			p.bad("run %s left the record", id)
		}
	}
}

func (p *Report) get(id string) *run {
	v := p.runs[id]
	if v == nil {
		v = new(run)
		p.runs[id] = v
	}
	return v
}

// excused tells whether what was told at this time may be gone.
func (p *Report) excused(at int64) bool {
	for _, c := range p.r.Cuts {
		if at <= c && time.Duration(c-at) <= p.r.Window {
			return true
		}
	}
	return false
}

// entry takes one entry, in order of time.
func (p *Report) entry(e *Entry) {
	switch e.Kind {
	case Acked:
		p.Acked += len(e.IDs)
		if e.Batch != "" {
			p.Batches++
		}
	case Refused:
		p.Refused++
	case Started:
		p.Starts++
	case Cancelled:
		p.Cancels++
	case Shown:
		p.Shown++
	case Ended:
	default:
		p.bad("a ledger holds the unknown kind %q", e.Kind)
	}
	for _, id := range e.IDs {
		v := p.get(id)
		switch e.Kind {
		case Acked:
			v.plan, v.acked, v.notTill = e.Plan, e.At, e.NotTill
		case Started:
			p.started(id, v, e)
		case Ended:
			v.ended = append(v.ended, *e)
		case Cancelled:
			if e.State == "cancelled" && v.cancel == 0 && !p.excused(e.At) {
				v.cancel = e.At
			}
			if e.State == "cancelled" || e.State == "succeeded" || e.State == "failed" {
				p.told(id, v, e, false)
			}
		case Shown:
			p.told(id, v, e, true)
		case Refused:
		}
	}
}

// started looks whether the run had ended.
func (p *Report) started(id string, v *run, e *Entry) {
	v.starts = append(v.starts, *e)
	if v.plan == "" {
		v.plan = e.Plan
	}
	if d := time.Duration(e.At - v.cancel); v.cancel != 0 {
		p.CancelMost = max(p.CancelMost, d)
		if d > p.r.CancelLag {
			p.bad("run %s started at %s %v after its cancel was acknowledged", id, e.Who, d)
		}
		return
	}
	if d := time.Duration(e.At - v.end); v.end != 0 {
		p.Late++
		p.LateMost = max(p.LateMost, d)
		if d > p.r.Lag {
			p.bad("run %s started at %s %v after it was shown as %s", id, e.Who, d, v.endState)
		}
	}
}

// told notes an end that somebody was told of. All that are told must agree,
// and the record with them.
func (p *Report) told(id string, v *run, e *Entry, value bool) {
	if p.excused(e.At) {
		return
	}
	f, ok := p.finals[id]
	switch {
	case !ok:
		p.bad("run %s was shown as %s to %s and is not in the record", id, e.State, e.Who)
	case f.State != e.State, value && f.Value != e.Value:
		p.bad("run %s was shown as %s %q to %s, the record says %s %q", id, e.State, e.Value, e.Who, f.State, f.Value)
	}
	if v.end == 0 {
		v.end, v.endState = e.At, e.State
	}
}

// run judges one run by all that is known of it.
func (p *Report) run(id string, v *run) {
	f, ok := p.finals[id]
	if !ok {
		switch {
		case v.acked == 0:
		case p.excused(v.acked):
			p.Excused++
		default:
			p.bad("run %s was acknowledged and is not in the record", id)
		}
		return
	}
	if v.notTill != 0 && len(v.starts) > 0 && v.starts[0].At < v.notTill-int64(early) {
		p.bad("run %s started %v before its time", id, time.Duration(v.notTill-v.starts[0].At))
	}
	asked := 0 // attempts after an earlier one that ended by itself
	var results []string
	for _, e := range v.ended {
		if e.State == "failed" {
			asked++
		}
		if e.State == "succeeded" {
			results = append(results, e.Value)
		}
	}
	if n := len(v.starts) - 1 - asked; n > 0 && (f.State != "failed" || f.Value == "lost") {
		p.Beyond += n
	} else if n := len(v.starts) - max(asked, 1); n > 0 && f.State == "failed" {
		p.Beyond += n
	}
	p.plausible(id, v, f, results)
	if f.State == "failed" && f.Value == "lost" && len(v.starts) < p.r.Deaths {
		p.bad("run %s was given up after %d starts, want at least %d: its workers did not die that often", id, len(v.starts), p.r.Deaths)
	}
}

// early is how much sooner than asked a run may start: its time is kept in
// milliseconds.
const early = time.Millisecond

// plausible holds a run's end against its plan: what is to fail must not have
// succeeded, and a result must come from a handler.
func (p *Report) plausible(id string, v *run, f Final, results []string) {
	switch f.State {
	case "succeeded":
		if !slices.Contains(results, f.Value) {
			p.bad("run %s has the result %q, which no handler gave", id, f.Value)
		}
		if v.plan == Doomed {
			p.bad("run %s succeeded, and its handler always fails", id)
		}
	case "failed":
		if v.plan != Doomed && f.Value != "lost" {
			p.bad("run %s failed with %q, and its handler does not", id, f.Value)
		}
	}
}

// Doomed is the plan of runs that always fail.
const Doomed = "doomed"
