package screen

import "time"

// Pace tells what stands behind a bar of n pieces after the given progress, told
// at the given times.
func Pace(n int, unit string, start time.Time, after []time.Duration, done []float64, text string) string {
	p := pace{n: n, unit: unit}
	for i := range after {
		p.set(start.Add(after[i]), done[i])
	}
	return p.tell(p.last, text)
}
