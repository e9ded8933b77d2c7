package bignum

import "sync"

// Span is a stretch of a computation's progress. A computation that is given a
// Span divides it among its steps, in proportion to the work it expects of them,
// and reports each when it is done. The zero Span reports to nobody.
type Span struct {
	meter *meter
	size  float64
}

// reportStep is the least progress worth a report.
const reportStep = 1.0 / 512

// Track returns a Span that covers a whole computation. It calls report with the
// fraction done, which only grows, some hundred times in all, never twice at the
// same moment. A nil report gives the zero Span.
func Track(report func(done float64)) Span {
	if report == nil {
		return Span{}
	}
	return Span{meter: &meter{report: report}, size: 1}
}

// Part returns the given fraction of s.
func (s Span) Part(fraction float64) Span {
	return Span{meter: s.meter, size: s.size * fraction}
}

// Done reports the work of s as done. It is called once, by whoever does not
// divide s further.
func (s Span) Done() {
	if s.meter != nil {
		s.meter.add(s.size)
	}
}

// Finish reports the whole computation as done, whatever the sum of its parts
// was rounded to.
func (s Span) Finish() {
	if s.meter != nil {
		s.meter.finish()
	}
}

type meter struct {
	mu     sync.Mutex
	report func(float64)
	done   float64
	told   float64
}

func (m *meter) add(size float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += size
	// 1 is for finish to say: until then a rounded sum must not claim it.
	if m.done >= m.told+reportStep && m.done < 1 {
		m.told = m.done
		m.report(m.done)
	}
}

func (m *meter) finish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.told < 1 {
		m.told, m.done = 1, 1
		m.report(1)
	}
}
