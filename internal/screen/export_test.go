package screen

import "time"

// Beside is a bar's width, and the text behind it, with so many columns for both.
func Beside(room, n int, unit string, took time.Duration, done float64, text string) (int, string) {
	p := pace{n: n, unit: unit}
	p.set(time.Unix(0, 0), 0)
	p.set(time.Unix(0, 0).Add(took), done)
	return fit(room, p.tell(p.last, text))
}

// Pace tells what stands behind a bar of n pieces after the given progress, told
// at the given times.
func Pace(n int, unit string, start time.Time, after []time.Duration, done []float64, text string) string {
	p := pace{n: n, unit: unit}
	for i := range after {
		p.set(start.Add(after[i]), done[i])
	}
	return p.tell(p.last, text)[0]
}
