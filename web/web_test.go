package web_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/web"
)

func pages(t *testing.T) *web.Pages {
	t.Helper()
	p, err := web.New()
	if err != nil {
		t.Fatalf("New = %v", err)
	}
	return p
}

// source is the text of files beside this one.
func source(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("Glob(%q) = %v, %v", pattern, names, err)
	}
	var all strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

var (
	used    = regexp.MustCompile(`\bt "([a-z_.]+)"`)
	built   = regexp.MustCompile(`printf "([a-z]+\.)%s"`)
	defined = regexp.MustCompile(`(?m)^  "([a-z_.]+)":`)
)

func TestTextsAreAllThereAndAllUsed(t *testing.T) {
	t.Parallel()
	p := pages(t)
	html := source(t, "page/*.html")
	keys := map[string]bool{}
	for _, m := range used.FindAllStringSubmatch(html, -1) {
		keys[m[1]] = true
		if _, err := p.Text(m[1]); err != nil {
			t.Errorf("a page says %q: %v", m[1], err)
		}
	}
	prefixes := []string{"time."} // used by code
	for _, m := range built.FindAllStringSubmatch(html, -1) {
		prefixes = append(prefixes, m[1])
	}
	for _, m := range defined.FindAllStringSubmatch(source(t, "text/en.json"), -1) {
		found := keys[m[1]]
		for _, pre := range prefixes {
			found = found || strings.HasPrefix(m[1], pre)
		}
		if !found {
			t.Errorf("no page says %q", m[1])
		}
	}
	for _, st := range faena.States() {
		if _, err := p.Text("state." + st.String()); err != nil {
			t.Errorf("state %s: %v", st, err)
		}
	}
	if _, err := p.Text("no.such"); err == nil {
		t.Error("Text(no.such) = nil error, want one")
	}
}

func TestAssetsUseNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"asset/*.css", "asset/*.js", "page/*.html"} {
		for _, word := range []string{"url(", "@import", "import ", "eval(", "innerHTML =", "://"} {
			text := strings.ReplaceAll(source(t, pattern), "http://{{.Host}}", "")
			if strings.Contains(text, word) {
				t.Errorf("%s has %q", pattern, word)
			}
		}
	}
}

func TestDrawChart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		good, bad []int64
	}{
		{nil, nil},
		{[]int64{0, 0}, []int64{0, 0}},
		{[]int64{1, 1000, 0}, []int64{0, 1, 7}},
		{[]int64{1e6}, []int64{1}},
		{[]int64{0, 5}, []int64{1e9, 0}},
	} {
		chart := web.Draw(c.good, c.bad)
		if len(chart.Bars) != len(c.good) {
			t.Fatalf("Draw(%v, %v) has %d bars", c.good, c.bad, len(chart.Bars))
		}
		for i, b := range chart.Bars {
			if (b.GoodH > 0) != (c.good[i] > 0) || (b.BadH > 0) != (c.bad[i] > 0) {
				t.Errorf("Draw(%v, %v): bar %d = %+v shows what there is not, or hides what there is", c.good, c.bad, i, b)
			}
			if b.BadY < 0 || b.GoodY < 0 || b.GoodY+b.GoodH > 100.001 || b.BadY+b.BadH > b.GoodY+.001 || b.X+b.W > float64(chart.Width) {
				t.Errorf("Draw(%v, %v): bar %d = %+v leaves the chart or overlaps", c.good, c.bad, i, b)
			}
		}
	}
}

func TestDrawRun(t *testing.T) {
	t.Parallel()
	p := pages(t)
	id, err := faena.ParseID("06h0qa6ae0001ba6vxde2kp74m")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-90 * time.Second)
	ended := began.Add(75 * time.Second)
	v := &web.Run{Run: faena.Info{
		ID: id, Task: "x", Queue: "q", State: faena.Failed, Attempt: 2, Attempts: 5, Deaths: 1, Created: began.Add(-time.Hour), Started: &began, Ended: &ended,
		Parent: "p1", RetryOf: "r1", RetriedBy: "r2", Tags: map[string]string{"b": "2", "a": "1"}, Input: []byte(`{"n":12345678901234567890,"s":"<i>"}`),
		Error: &faena.Failure{Code: faena.CodePanic, Message: "boom", Stack: "goroutine 1"}, OutputSize: 3 << 20,
	}, CanRetry: true}
	b, err := p.Draw("run", v)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 min 15 s", "15 s ago", "2 of 5", "goroutine 1", "3.0 MiB", "/runs/r2", "a: 1", `tag=a%3A1`, "12345678901234567890", "&lt;i&gt;", "panic",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	far := time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)
	for at, want := range map[time.Time]string{
		far: ">9000-01-01<", time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC): ">0001-01-02<", // farther than a Duration reaches
		time.Now().Add(200 * 365 * 24 * time.Hour):     time.Now().Add(200 * 365 * 24 * time.Hour).UTC().Format(">2006-01-02<"),
		time.Now().Add(100*24*time.Hour + time.Minute): ">in 100 d<",
	} {
		v.Run.Deadline = &at
		if b, err := p.Draw("run", v); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("the page of a run with deadline %s does not say %q: %v", at, want, err)
		}
	}
	v.Run.Input, v.Run.InputSize = nil, 5<<20
	if b, err := p.Draw("run", v); err != nil || !strings.Contains(string(b), "5.0 MiB") || !strings.Contains(string(b), id.String()+"/input") {
		t.Errorf("the page of a run with a large input does not say its size, and where it is: %v", err)
	}
	if strings.Index(string(b), "a: 1") > strings.Index(string(b), "b: 2") {
		t.Error("tags are not in order")
	}
	if _, err := p.Draw("nope", v); err == nil {
		t.Error("Draw(nope) = nil error, want one")
	}
	if _, err := p.Draw("home", v); err == nil {
		t.Error("Draw(home) with a run's view = nil error, want one")
	}
}

// Text of people's cannot turn around what stands beside it, nor steer a terminal
// that shows the source.
func TestTextOfRunsSteersNothing(t *testing.T) {
	t.Parallel()
	const evil = "a\u202eb\u2066c\u200fd\x1b[31me\u2028f\u0085g\x00h\xff"
	in := faena.Info{
		Task: evil, Queue: evil, State: faena.Failed, Node: evil, Waits: evil, Tags: map[string]string{evil: evil},
		Progress: &faena.ProgressInfo{Done: 0.5, Text: evil},
		Error:    &faena.Failure{Code: faena.CodeFailed, Message: evil, Stack: "one\n\ttwo " + evil},
		Input:    []byte(`"` + evil + `"`), Output: []byte(`{"é": "` + evil + `"}`),
	}
	p := pages(t)
	for page, v := range map[string]web.View{
		"run":   &web.Run{Frame: web.Frame{Title: evil, Reasons: []string{evil}}, Run: in},
		"runs":  &web.Runs{Runs: []faena.Info{in}, Only: web.Filter{Tag: evil}},
		"tasks": &web.Tasks{Running: []web.Work{{Info: in}}, Finished: []web.Work{{Info: in, Last: &web.Result{Output: evil}}}},
		"error": &web.Failed{Name: evil, Detail: evil, Remedy: evil},
	} {
		b, err := p.Draw(page, v)
		if err != nil {
			t.Errorf("Draw(%s) = %v", page, err)
			continue
		}
		for i, r := range string(b) {
			if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Bidi_Control) {
				t.Errorf("Draw(%s) has %U: %q", page, r, b[max(i-20, 0):i])
			}
		}
		if page == "run" && (!strings.Contains(string(b), "one\n\ttwo a b c d [31me") || !strings.Contains(string(b), "é")) {
			t.Errorf("Draw(run) = %s, want lines and letters as they are", b)
		}
	}
}
