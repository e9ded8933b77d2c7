package factorial

// Meter is the meter of a run, for tests.
type Meter = meter

// For tests.
var (
	NewMeter = newMeter
	Parts    = parts
	Pieces   = pieces
	Joined   = joined
)

// Enter begins the next step.
func (m *meter) Enter(share float64, step string) { m.enter(share, step) }

// Report tells how much of the step is done.
func (m *meter) Report(done float64) { m.report(done) }
