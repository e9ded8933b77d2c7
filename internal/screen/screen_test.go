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
		header, rows = screen.Fit(width, header, rows)
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
		0:                             "< 1 ms",
		999 * time.Microsecond:        "< 1 ms",
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
		"multiply":    " 2.0 %/s ETA 15s multiply",
		"7 pages/s":   " 7 pages/s ETA 15s",
		"5 of 9, 7/s": " 7/s ETA 15s 5 of 9",
		"":            " 2.0 %/s ETA 15s",
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

// On a narrow terminal the bar took the room of rate and time left.
func TestBarLeavesRoomForRateAndTimeLeft(t *testing.T) {
	t.Parallel()
	const long = "1234 of 5678 known pages, 45/s"
	for _, c := range []struct {
		columns, n, width int
		text, want        string
	}{
		{108, 1, 32, long, " 45/s ETA 5s 1234 of 5678 known pages"},
		{68, 1, 31, long, " 45/s ETA 5s 1234 of 5678 known pages"},
		{48, 1, 12, long, " 45/s ETA 5s 1234 of 5678 known page"[:35] + "…"},
		{28, 1, 16, long, " 45/s ETA 5s"},
		{18, 1, 6, long, " 45/s ETA 5s"},
		{14, 1, 0, long, " 45/s ETA 5s"},
		{68, 200, 28, "a.png", " 100/200 files 20.0 files/s ETA 5s a.png"},
		{28, 200, 8, "a.png", " 20.0 files/s ETA 5s"},
		{20, 200, 6, "a.png", " 20.0/s ETA 5s"},
		{28, 1, 12, "multiply", " 10.0 %/s ETA 5s"},
	} {
		width, text := screen.Beside(c.columns, c.n, "files", 5*time.Second, 0.5, c.text)
		if width != c.width || text != c.want {
			t.Errorf("a bar of %d in %d columns, %q: %d wide, %q, want %d, %q", c.n, c.columns, c.text, width, text, c.width, c.want)
		}
	}
}

// Tables that were wider than their terminal wrapped, line for line.
func TestFitDropsColumns(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{
		0:  "ID      STATE   QUEUE    AGE  NOTE\n123456  failed  default  3s   this is a long text\n",
		60: "ID      STATE   QUEUE    AGE  NOTE\n123456  failed  default  3s   this is a long text\n",
		44: "ID      STATE   QUEUE    AGE  NOTE\n123456  failed  default  3s   this is a lon…\n",
		40: "ID      STATE   AGE  NOTE\n123456  failed  3s   this is a long text\n",
		33: "ID      STATE   AGE  NOTE\n123456  failed  3s   this is a l…\n",
		32: "ID      STATE   NOTE\n123456  failed  this is a long …\n",
		20: "ID      STATE\n123456  failed\n",
	} {
		var b bytes.Buffer
		header, rows := screen.Fit(width, []string{"ID", "STATE", "QUEUE", "AGE", "NOTE"}, [][]screen.Cell{
			{screen.Text("123456"), screen.Text("failed"), screen.Text("default"), screen.Text("3s"), screen.Text("this is a long text")},
		}, 2, 3, 4)
		if err := screen.Table(&b, false, header, rows); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("Table fit to %d (-want +got):\n%s", width, diff)
		}
	}
}
