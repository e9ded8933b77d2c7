package screen_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/internal/screen"
)

func TestTableAligns(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	rows := [][]screen.Cell{
		{screen.Text("1"), {Text: "failed", Colour: screen.Red}, screen.Text("a\x1b[2J\nb")},
		{screen.Text("日本"), screen.Text(""), screen.Text("c")},
		{screen.Text("333"), {Text: "ok", Colour: screen.Green}, screen.Text("")},
	}
	if err := screen.Table(&b, false, []string{"ID", "STATE", "NOTE"}, rows); err != nil {
		t.Fatal(err)
	}
	want := "ID    STATE   NOTE\n1     failed  a [2J b\n日本          c\n333   ok\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("Table (-want +got):\n%s", diff)
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{
		0:  "ID    NOTE\n日本  this is a long text\n1     short\n",
		80: "ID    NOTE\n日本  this is a long text\n1     short\n",
		20: "ID    NOTE\n日本  this is a lon…\n1     short\n",
		5:  "ID    NOTE\n日本  this is a l…\n1     short\n",
	} {
		var b bytes.Buffer
		header := []string{"ID", "NOTE"}
		rows := [][]screen.Cell{
			{screen.Text("日本"), screen.Text("this is a long text")},
			{screen.Text("1"), screen.Text("short")},
		}
		screen.Fit(width, header, rows)
		if err := screen.Table(&b, false, header, rows); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("Table fit to %d (-want +got):\n%s", width, diff)
		}
	}
}

func TestTableColours(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	rows := [][]screen.Cell{{{Text: "x", Colour: screen.Red}, screen.Text("y")}}
	if err := screen.Table(&b, true, []string{"AA", "B"}, rows); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[1mAA\x1b[0m  \x1b[1mB\x1b[0m\n\x1b[31mx\x1b[0m   y\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("Table (-want +got):\n%s", diff)
	}
}

func TestNothingButATerminalIsOne(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if screen.IsTerminal(&b) || screen.Colours(&b) || screen.NewBars(&b).Shown() {
		t.Error("a buffer counts as a terminal")
	}
	bars := screen.NewBars(&b)
	bar := bars.Add("x", 1, "")
	bar.Set(0.5, "half")
	bar.End()
	if b.Len() != 0 {
		t.Errorf("a bar wrote %q to what is no terminal", b.String())
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                             "0µs",
		250 * time.Millisecond:        "250ms",
		1990 * time.Millisecond:       "1.9s",
		42 * time.Second:              "42s",
		3*time.Minute + 5*time.Second: "3m5s",
		12*time.Minute + time.Second:  "12m",
		26 * time.Hour:                "1d2h",
		400 * 24 * time.Hour:          "400d",
	} {
		if got := screen.Span(d); got != want {
			t.Errorf("Span(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for d, want := range map[time.Duration]string{-time.Minute: "1m ago", time.Minute: "in 1m", 0: "now"} {
		if got := screen.Ago(now, now.Add(d)); got != want {
			t.Errorf("Ago(%s) = %q, want %q", d, got, want)
		}
	}
	if got := screen.Ago(now, time.Time{}); got != "" {
		t.Errorf("Ago(zero) = %q, want nothing", got)
	}
}

// What an earlier process had done must not make the rest look quick.
func TestPaceCountsFromItsStart(t *testing.T) {
	t.Parallel()
	start := time.Unix(0, 0)
	got := screen.Pace(100, "files", start, []time.Duration{0, 10 * time.Second}, []float64{0.5, 0.7}, "a.png")
	if want := " 70/100 files 2.0 files/s ETA 15s a.png"; got != want {
		t.Errorf("pace = %q, want %q", got, want)
	}
	for text, want := range map[string]string{
		"multiply":  " 2.0 %/s ETA 15s multiply",
		"7 pages/s": " ETA 15s 7 pages/s",
		"":          " 2.0 %/s ETA 15s",
	} {
		if got := screen.Pace(1, "", start, []time.Duration{0, 10 * time.Second}, []float64{0.5, 0.7}, text); got != want {
			t.Errorf("pace of one thing, %q = %q, want %q", text, got, want)
		}
	}
	got = screen.Pace(1, "", start, []time.Duration{0, 10 * time.Millisecond}, []float64{0, 0.1}, "")
	if want := " ETA -"; got != want {
		t.Errorf("pace too soon to tell = %q, want %q", got, want)
	}
}
