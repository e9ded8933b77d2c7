package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/gateway"
)

// evil is what must be text wherever it is shown.
const evil = `<b class="evil">x</b>"'&`

// everyState is an engine with a run in each state, and what its kind of run has
// besides.
func everyState(t *testing.T) *fake {
	t.Helper()
	ids, now := ids(t, len(faena.States())+1), time.Now()
	f := &fake{infos: map[faena.ID]*faena.Info{}, status: faena.Status{Accepting: true, Durability: "strict", Verified: true}}
	f.queues = []faena.QueueInfo{{Name: "most", Counts: map[string]int64{}}, {Name: "q", Workers: 6, Counts: map[string]int64{"queued": 1, "running": 2, "waiting": 3, "scheduled": 4, "retrying": 5}}}
	for i, st := range faena.States() {
		// half a minute is what the test may take before a page says something else
		began, ended, at := now.Add(-90*time.Minute-30*time.Second), now.Add(-30*time.Minute-30*time.Second), now.Add(3*time.Hour+30*time.Second)
		in := faena.Info{ID: ids[i], State: st, Task: "task-" + st.String(), Queue: "q", Created: began.Add(-time.Hour)}
		switch st {
		case faena.Running, faena.Waiting:
			in.Started, in.Attempt = &began, 1
			in.Progress = &faena.ProgressInfo{Done: 0.427, Text: "page 12 " + evil}
		case faena.Scheduled:
			in.At = &at
		case faena.Retrying:
			in.At, in.Attempt = &at, 3
		case faena.Queued:
			in.Waits = "queue q is paused " + evil
		default:
			in.Started, in.Ended, in.Attempt = &began, &ended, 1
		}
		if st == faena.Failed || st == faena.Cancelled || st == faena.Retrying {
			in.Error = &faena.Failure{Code: faena.CodeFailed, Message: "why it is " + st.String() + " " + evil}
		}
		if st == faena.Succeeded {
			in.Output = []byte(`{"n": 12345678901234567890, "html": "` + `<b class=\"evil\">` + `"}`)
		}
		f.runs = append(f.runs, in)
		f.infos[in.ID] = &in
		n := 1234567 + int64(i)
		f.counts = append(f.counts, faena.Count{Queue: "q", Task: in.Task, State: st, N: n})
		f.queues[0].Counts[st.String()] = n - f.queues[1].Counts[st.String()]
	}
	// an earlier end of the task that runs
	ended := now.Add(-time.Hour)
	last := faena.Info{ID: ids[len(ids)-1], State: faena.Succeeded, Task: "task-running", Queue: "q", Created: now.Add(-2 * time.Hour), Started: &ended, Ended: &ended, Output: []byte(`"the one before"`)}
	f.runs, f.infos[last.ID] = append(f.runs, last), &last
	return f
}

func ids(t *testing.T, n int) []faena.ID {
	t.Helper()
	out := make([]faena.ID, n)
	for i := range out {
		var err error
		if out[i], err = faena.ParseID(fmt.Sprintf("06h0qa6ae0001b%02dvxde2kp74m", i)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// draw asks for a page as a browser does, and parses it.
func draw(t *testing.T, h http.Handler, path string) *html.Node {
	t.Helper()
	w := send(h, "GET", path, "", "Accept", "text/html")
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s = %d %s", path, w.Code, w.Body)
	}
	if p := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; ") || strings.Contains(p, "unsafe") || strings.Contains(p, "//") {
		t.Errorf("GET %s has policy %q, want one that admits nothing from elsewhere", path, p)
	}
	doc, err := html.Parse(w.Body)
	if err != nil {
		t.Fatalf("parse %s: %v", path, err)
	}
	return doc
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// text is all that an element says, in one line.
func text(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// find gives the first element within n that is wanted.
func find(n *html.Node, want func(*html.Node) bool) *html.Node {
	for c := range n.Descendants() {
		if c.Type == html.ElementNode && want(c) {
			return c
		}
	}
	return nil
}

func byID(t *testing.T, doc *html.Node, id string) *html.Node {
	t.Helper()
	n := find(doc, func(n *html.Node) bool { return attr(n, "id") == id })
	if n == nil {
		t.Fatalf("the page has no element %q", id)
	}
	return n
}

// rows are the ids of the runs that a part shows, with the row of each.
func rows(part *html.Node) (ids []string, byID map[string]*html.Node) {
	byID = map[string]*html.Node{}
	for n := range part.Descendants() {
		if id, ok := strings.CutPrefix(attr(n, "href"), "/runs/"); ok && attr(n, "class") == "id" {
			row := n
			for row.Data != "tr" && row.Data != "li" {
				row = row.Parent
			}
			ids, byID[id] = append(ids, id), row
		}
	}
	return ids, byID
}

// harmless checks that a page holds nothing from elsewhere, no script but its
// own file, and nothing that a run said as anything but text.
func harmless(t *testing.T, path string, doc *html.Node) {
	t.Helper()
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if attr(n, "class") == "evil" {
			t.Errorf("%s takes what a run said for HTML: %s", path, text(n.Parent))
		}
		switch n.Data {
		case "style", "iframe", "object", "embed", "img", "base", "font":
			t.Errorf("%s has an element %s", path, n.Data)
		case "script":
			if !strings.HasPrefix(attr(n, "src"), "/assets/") || n.FirstChild != nil {
				t.Errorf("%s has a script that is no asset: %v", path, n.Attr)
			}
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "style" || strings.HasPrefix(a.Key, "on"):
				t.Errorf("%s has an attribute %s on %s", path, a.Key, n.Data)
			case a.Key == "src" || a.Key == "href" || a.Key == "action" || a.Key == "srcset" || a.Key == "poster":
				if strings.HasPrefix(a.Val, "//") || !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") {
					t.Errorf("%s refers to %s, which is elsewhere", path, a.Val)
				}
			}
		}
	}
}

func TestPagesShowEveryState(t *testing.T) {
	t.Parallel()
	f := everyState(t)
	g := onFake(t, f, gateway.Options{})
	doc := draw(t, g, "/background-tasks")
	harmless(t, "/background-tasks", doc)
	where := map[faena.State]string{
		faena.Running: "running", faena.Waiting: "running", faena.Scheduled: "scheduled", faena.Retrying: "scheduled",
		faena.Queued: "queued", faena.Succeeded: "finished", faena.Failed: "finished", faena.Cancelled: "finished",
	}
	want := map[faena.State][]string{
		faena.Running:   {"Running", "43 %", "page 12 " + evil, "1 h 30 min"},
		faena.Waiting:   {"Waiting", "43 %", "1 h 30 min"},
		faena.Scheduled: {"Scheduled", "in 3 h 0 min", "–"},
		faena.Retrying:  {"Retrying", "in 3 h 0 min", "3", "why it is retrying " + evil},
		faena.Queued:    {"Queued", "q", "queue q is paused " + evil, "2 h 30 min ago"},
		faena.Succeeded: {"Succeeded", "30 min ago", "1 h 0 min", "12345678901234567890", `<b class=\"evil\">`},
		faena.Failed:    {"Failed", "30 min ago", "1 h 0 min", "why it is failed " + evil},
		faena.Cancelled: {"Cancelled", "30 min ago", "why it is cancelled " + evil},
	}
	for _, st := range faena.States() {
		id := f.runs[st-faena.States()[0]].ID.String()
		_, all := rows(byID(t, doc, where[st]))
		if all[id] == nil {
			t.Errorf("the %s run is not among %s", st, where[st])
			continue
		}
		got := text(all[id])
		for _, s := range append(want[st], "task-"+st.String(), id[14:20]) {
			if !strings.Contains(got, strings.Join(strings.Fields(s), " ")) {
				t.Errorf("the row of the %s run says %q, want %q in it", st, got, s)
			}
		}
	}
	last := f.runs[len(f.runs)-1].ID.String()
	for _, part := range []string{"running", "scheduled", "queued"} { // that of another run read as if it were the row's
		if _, all := rows(byID(t, doc, part)); all[last] != nil || strings.Contains(text(byID(t, doc, part)), "the one before") {
			t.Errorf("%s shows the result of a run that has ended", part)
		}
	}
	if shown, all := rows(byID(t, doc, "last")); len(shown) != 1 || all[last] == nil || !strings.Contains(text(all[last]), `"the one before"`) {
		t.Errorf("the last results are %q, want that of the one task that has one", shown)
	}
	if bar := find(byID(t, doc, "running"), func(n *html.Node) bool { return n.Data == "progress" }); bar == nil || attr(bar, "value") != "43" || attr(bar, "max") != "100" || attr(bar, "aria-label") == "" {
		t.Errorf("the bar of the running one = %+v, want 43 of 100, with a label", bar)
	}
	due := find(byID(t, doc, "scheduled"), func(n *html.Node) bool { return n.Data == "time" })
	if at, err := time.Parse(time.RFC3339, attr(due, "datetime")); err != nil || !at.Equal(f.runs[0].At.Truncate(time.Second)) {
		t.Errorf("the next time is %q, want %s", attr(due, "datetime"), f.runs[0].At)
	}
}

// A narrow page names each value, for which a row has no room under its header.
func TestCellsNameTheirValues(t *testing.T) {
	t.Parallel()
	g := onFake(t, everyState(t), gateway.Options{})
	for _, path := range []string{"/", "/background-tasks", "/runs?state=failed"} {
		for table := range draw(t, g, path).Descendants() {
			if table.Data != "table" {
				continue
			}
			var header []string
			for n := range table.Descendants() {
				if n.Data == "th" && attr(n, "scope") == "col" {
					header = append(header, text(n))
				}
			}
			for row := range table.Descendants() {
				if row.Data != "tr" || row.Parent.Data != "tbody" {
					continue
				}
				i := 0
				for cell := range row.ChildNodes() {
					if cell.Type != html.ElementNode {
						continue
					}
					if label := attr(cell, "data-label"); i >= len(header) || label != "" && label != header[i] {
						t.Errorf("%s: cell %d is named %q below the headers %q", path, i, label, header)
					}
					i++
				}
				if i != len(header) {
					t.Errorf("%s: a row has %d cells below %d headers %q", path, i, len(header), header)
				}
			}
		}
	}
}

func TestHomeCountsEveryState(t *testing.T) {
	t.Parallel()
	f := everyState(t)
	g := onFake(t, f, gateway.Options{})
	doc := draw(t, g, "/")
	harmless(t, "/", doc)
	counts := byID(t, doc, "counts")
	for i, st := range faena.States() {
		to := "/runs?state=" + st.String()
		if st == faena.Failed || st == faena.Cancelled { // they count those that were retried
			to += "&retried=true"
		}
		tile := find(counts, func(n *html.Node) bool { return attr(n, "href") == to })
		name := st.String()
		if tile == nil || !strings.EqualFold(text(tile), fmt.Sprintf("%s 1,234,%d", name, 567+i)) {
			t.Errorf("the tile of %s is %v, want its word and 1,234,%d", name, tile, 567+i)
		}
	}
	numbers := map[string]string{} // running and waiting ones were counted as running
	for n := range byID(t, doc, "queues").Descendants() {
		if n.Data == "td" && attr(n, "data-label") != "" {
			numbers[attr(n, "data-label")] = text(n)
		}
	}
	want := map[string]string{"Queued": "1", "Running": "2", "Waiting": "3", "Scheduled": "4", "Retrying": "5", "Failed": "0", "Workers": "6"}
	if d := cmp.Diff(want, numbers); d != "" {
		t.Errorf("the row of a queue (-want +got)\n%s", d)
	}
	if got := text(byID(t, doc, "failures")); !strings.Contains(got, "why it is failed "+evil) {
		t.Errorf("recent failures say %q", got)
	}
	if got := text(byID(t, doc, "now")); !strings.Contains(got, "task-running") || !strings.Contains(got, "43 %") {
		t.Errorf("what runs now says %q", got)
	}
	for _, in := range f.runs {
		path := "/runs/" + in.ID.String()
		harmless(t, path, draw(t, g, path))
	}
	harmless(t, "/runs", draw(t, g, "/runs?state=failed"))
	harmless(t, "/api", draw(t, g, "/api"))
}

// What programs are told is what people see.
func TestRunsPageShowsRetriedRunsIfAsked(t *testing.T) {
	t.Parallel()
	f := everyState(t)
	g := onFake(t, f, gateway.Options{})
	for path, want := range map[string]bool{"/runs?state=failed": false, "/runs?state=failed&retried=": false, "/runs?state=failed&retried=true": true} {
		doc := draw(t, g, path)
		box := find(doc, func(n *html.Node) bool { return attr(n, "name") == "retried" })
		if box == nil || attr(box, "value") != "true" {
			t.Fatalf("%s has no box for retried runs", path)
		}
		checked := slices.ContainsFunc(box.Attr, func(a html.Attribute) bool { return a.Key == "checked" })
		if checked != want || f.asked.Retried != want {
			t.Errorf("%s: box %v, query %v, want both %v", path, checked, f.asked.Retried, want)
		}
	}
}

func TestBackgroundTasksAsJSONAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	f := everyState(t)
	g := onFake(t, f, gateway.Options{})
	doc := draw(t, g, "/background-tasks")
	w := send(g, "GET", "/background-tasks", "", "Accept", "application/json")
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type = %q", got)
	}
	b := read[gateway.Background](t, w, http.StatusOK)
	total := 0
	for part, work := range map[string][]gateway.Work{"running": b.Running, "scheduled": b.Scheduled, "queued": b.Queued, "finished": b.Finished} {
		shown, _ := rows(byID(t, doc, part))
		told := make([]string, len(work))
		for i := range work {
			told[i] = work[i].ID.String()
			in := f.infos[work[i].ID]
			if work[i].State != in.State || work[i].Waits != in.Waits || !cmp.Equal(work[i].Progress, in.Progress) || (work[i].NextTime == nil) != (in.At == nil) {
				t.Errorf("work = %+v, want what is known of %+v", work[i], in)
			}
		}
		if d := cmp.Diff(shown, told); d != "" {
			t.Errorf("%s (-page +JSON)\n%s", part, d)
		}
		total += len(told)
	}
	if total != len(f.runs) {
		t.Errorf("%d runs are told, want all %d", total, len(f.runs))
	}
}
