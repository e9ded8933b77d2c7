package screen

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Bars shows progress on a terminal. Its zero value, and nil, show nothing.
// Methods may be called concurrently.
type Bars struct {
	w io.Writer // nil shows nothing

	mu  sync.Mutex // of what follows
	all *mpb.Progress
	n   int // bars under way; all is there as long as there are any
}

// NewBars shows bars on w, or nothing if w is no terminal.
func NewBars(w io.Writer) *Bars {
	if !IsTerminal(w) {
		return new(Bars)
	}
	return &Bars{w: w}
}

// Shown tells whether there is a terminal to show them on.
func (b *Bars) Shown() bool { return b != nil && b.w != nil }

// Over gives a writer whose lines stand above the bars; without bars it is w.
func (b *Bars) Over(w io.Writer) io.Writer {
	if !b.Shown() {
		return w
	}
	return over{b, w}
}

// over writes above the bars while there are any.
type over struct {
	bars  *Bars
	plain io.Writer
}

func (o over) Write(p []byte) (int, error) {
	o.bars.mu.Lock()
	defer o.bars.mu.Unlock()
	if o.bars.all != nil {
		if n, err := o.bars.all.Write(p); err == nil {
			return n, nil
		}
	}
	return o.plain.Write(p)
}

// begin adds a bar to those under way.
func (b *Bars) begin(opts ...mpb.BarOption) *mpb.Bar {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = mpb.New(mpb.WithOutput(b.w), mpb.WithRefreshRate(150*time.Millisecond))
	}
	b.n++
	return b.all.AddBar(scale, opts...)
}

// end takes a bar away. With the last one goes what draws them: it keeps lines
// back until it draws, and would draw no more for lines alone.
func (b *Bars) end(bar *mpb.Bar) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bar.Abort(true)
	bar.Wait()
	if b.n--; b.n == 0 {
		b.all.Wait()
		b.all = nil
	}
}

const (
	scale    = 10000 // how finely a bar is drawn
	barWidth = 32    // that of a bar with room enough
	barShort = 12    // that of one beside which a text is cut
	barLeast = 5     // a shorter one is left out
	around   = 2     // spaces around a bar
	margin   = 4     // for the ^C that a terminal echoes: a line that wraps cannot be taken back
)

// Bar is one bar. A nil one takes everything and shows nothing.
type Bar struct {
	bars *Bars
	bar  *mpb.Bar

	mu   sync.Mutex // of what follows
	pace pace
	text string

	width int // of the bar itself, as it is drawn
}

// Add adds a bar: of n pieces called unit, or of one thing if n is 1.
func (b *Bars) Add(name string, n int, unit string) *Bar {
	if !b.Shown() {
		return nil
	}
	bar := &Bar{bars: b, pace: pace{n: n, unit: unit}}
	if name = Clean(name); name != "" {
		name += " "
	}
	bar.bar = b.begin(
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(name), decor.Percentage(decor.WC{W: 5})),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string { // before what draws the bar
			bar.mu.Lock()
			defer bar.mu.Unlock()
			width, text := fit(s.AvailableWidth-around-margin, bar.pace.tell(time.Now(), bar.text))
			bar.width = width
			return text
		})),
		mpb.BarFillerMiddleware(func(base mpb.BarFiller) mpb.BarFiller {
			return mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
				bar.mu.Lock()
				s.RequestedWidth = bar.width
				bar.mu.Unlock()
				if s.RequestedWidth == 0 {
					return nil
				}
				return base.Fill(w, s)
			})
		}),
	)
	return bar
}

// Set tells how much is done, from 0 to 1, and what is being done.
func (b *Bar) Set(done float64, text string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	first := !b.pace.begun
	b.pace.set(time.Now(), done)
	b.text = Clean(text)
	b.mu.Unlock()
	at := int64(min(done, 0.9999) * scale) // the end is told by End
	b.bar.SetCurrent(at)
	if first {
		b.bar.SetRefill(at) // an earlier process did that much
	}
}

// End takes the bar away, once.
func (b *Bar) End() {
	if b != nil {
		b.bars.end(b.bar)
	}
}

// pace measures how fast work goes. What was done before it began, by an earlier
// process, does not count.
type pace struct {
	n           int
	unit        string
	begun       bool
	start, last time.Time
	from, done  float64
}

func (p *pace) set(now time.Time, done float64) {
	if !p.begun {
		p.begun, p.start, p.from = true, now, done
	}
	p.last, p.done = now, done
}

// left is how long the rest will take, if that can be told.
func (p *pace) left(now time.Time) (time.Duration, bool) {
	gone, took := p.done-p.from, p.last.Sub(p.start)
	if gone <= 0 || took < time.Second {
		return 0, false
	}
	rest := time.Duration(float64(took)*(1-p.done)/gone) - now.Sub(p.last)
	return max(rest, 0), true
}

// tell is what stands behind a bar, for less and less room: pieces, rate, time left,
// and only in the first of them the text. A text that ends in a rate has a better
// one.
func (p *pace) tell(now time.Time, text string) []string {
	pieces, speed, unit, left := "", "", "", " ETA -"
	took := p.last.Sub(p.start).Seconds()
	if p.n > 1 {
		pieces = fmt.Sprintf(" %.0f/%d %s", p.done*float64(p.n), p.n, p.unit)
		unit = " " + p.unit
	}
	switch before, last := cutLast(text); {
	case p.n <= 1 && strings.HasSuffix(last, "/s"):
		speed, unit, text = " "+strings.TrimSuffix(last, "/s"), "", before
	case took < 1:
	case p.n > 1:
		speed = " " + rate((p.done-p.from)*float64(p.n)/took)
	default:
		speed, unit = " "+rate((p.done-p.from)*100/took), " %"
	}
	if d, ok := p.left(now); ok {
		left = " ETA " + eta(d)
	} else if !p.begun {
		left = ""
	}
	if text != "" {
		text = " " + text
	}
	full, short := "", ""
	if speed != "" {
		full, short = speed+unit+"/s", speed+"/s"
		if unit == " %" { // else it would be a number of nothing
			short = full
		}
	}
	return []string{pieces + full + left + text, pieces + full + left, full + left, short + left}
}

// cutLast cuts a text at its last comma.
func cutLast(text string) (before, last string) {
	if i := strings.LastIndex(text, ", "); i >= 0 {
		return text[:i], text[i+2:]
	}
	return "", text
}

// fit shares so many columns between a bar and one of the texts, of which the first
// may be cut behind what the second has; a bar that would be too short is left out.
func fit(room int, texts []string) (int, string) {
	long, core := texts[0], runewidth.StringWidth(texts[1])
	if room-core >= barShort {
		width := min(max(room-runewidth.StringWidth(long), barShort), barWidth)
		if room-width < min(core+leastShown/2, runewidth.StringWidth(long)) { // too little of it to be read
			return min(room-core, barWidth), texts[1]
		}
		return width, runewidth.Truncate(long, room-width, "…")
	}
	for _, text := range texts[1:] {
		if width := room - runewidth.StringWidth(text); width >= barLeast {
			return width, text
		}
	}
	return 0, runewidth.Truncate(texts[len(texts)-1], max(room, 0), "…")
}

func eta(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.0fs", math.Ceil(d.Seconds()))
	}
	return Span(d)
}

func rate(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
