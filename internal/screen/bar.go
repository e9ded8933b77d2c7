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
	barWidth = 32
	margin   = 4 // for the ^C that a terminal echoes: a line that wraps cannot be taken back
)

// Bar is one bar. A nil one takes everything and shows nothing.
type Bar struct {
	bars *Bars
	bar  *mpb.Bar

	mu   sync.Mutex // of what follows
	pace pace
	text string
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
	taken := runewidth.StringWidth(name) + len("100 % ") + barWidth + margin
	bar.bar = b.begin(
		mpb.BarRemoveOnComplete(), mpb.BarWidth(barWidth),
		mpb.PrependDecorators(decor.Name(name), decor.Percentage(decor.WC{W: 5})),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string {
			bar.mu.Lock()
			defer bar.mu.Unlock()
			return runewidth.Truncate(bar.pace.tell(time.Now(), bar.text), max(s.AvailableWidth-taken, 0), "…")
		})),
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

// tell is what stands behind a bar: pieces, rate, time left, text. A text that
// names a rate has a better one.
func (p *pace) tell(now time.Time, text string) string {
	s := ""
	if p.n > 1 {
		s += fmt.Sprintf(" %.0f/%d %s", p.done*float64(p.n), p.n, p.unit)
		if took := p.last.Sub(p.start).Seconds(); took >= 1 {
			s += fmt.Sprintf(" %s %s/s", rate((p.done-p.from)*float64(p.n)/took), p.unit)
		}
	}
	if took := p.last.Sub(p.start).Seconds(); p.n <= 1 && took >= 1 && !strings.Contains(text, "/s") {
		s += fmt.Sprintf(" %s %%/s", rate((p.done-p.from)*100/took))
	}
	if left, ok := p.left(now); ok {
		s += " ETA " + eta(left)
	} else if p.begun {
		s += " ETA -"
	}
	if text != "" {
		s += " " + text
	}
	return s
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
