package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/faena-dev/faena"
)

// maxPage is how many runs one page of a list has at most.
const maxPage = 500

func listParameters() []parameter {
	return []parameter{
		{"state", "only runs in this state; may be repeated"},
		{"queue", "only runs of this queue"},
		{"task", "only runs of this task"},
		{"tag", "only runs with this tag, as key:value; may be repeated"},
		{"from", "only runs submitted at or after this time, in RFC 3339"},
		{"to", "only runs submitted before this time, in RFC 3339"},
		{"retried", "true: failed runs that were retried, too"},
		{"order", "next: runs that wait for their time, the soonest first; ended: ended runs, the last first; one page, without cursor; default the newest first"},
		{"limit", "how many at most, up to 500; default 50"},
		{"cursor", "the next of the page before, with the same conditions; anything else is answered with 400"},
	}
}

// readQuery reads what a list's URL selects.
func readQuery(v url.Values) (faena.Query, error) {
	var q faena.Query
	var err error
	for name, values := range v {
		if len(values) > 1 && name != "state" && name != "tag" {
			return q, wrong("query."+name, fmt.Sprintf("it is given %d times", len(values)), "send one of them")
		}
		for _, s := range values {
			if err = readParameter(&q, name, s); err != nil {
				return q, err
			}
		}
	}
	slices.Sort(q.States)
	return q, possible(q, "query.")
}

// possible refuses conditions that no run can meet.
func possible(q faena.Query, where string) error {
	for name, value := range map[string]string{"queue": q.Queue, "task": q.Task} {
		if value != "" && !names.MatchString(value) {
			return wrong(where+name, fmt.Sprintf("%q cannot be the name of a %s", value, name), "names have 1 to 64 characters: letters, digits, - _ and .")
		}
	}
	for _, t := range q.Tags {
		if !utf8.ValidString(t.Key) || !utf8.ValidString(t.Value) {
			return wrong(where+"tag", fmt.Sprintf("%q is not UTF-8", t.Key+":"+t.Value), "send the text encoded as UTF-8")
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return wrong(where+"to", fmt.Sprintf("%s is not after from", q.To.Format(time.RFC3339)), "send a later one, or an earlier from")
	}
	if q.Order != faena.OrderCreated {
		if err := q.Check(); err != nil {
			return wrong(where+"order", err.Error(), "leave order out, or what does not go with it")
		}
	}
	return nil
}

// stateNames are those that a state may have.
func stateNames() string {
	var names []string
	for _, s := range faena.States() {
		names = append(names, s.String())
	}
	return strings.Join(names, ", ")
}

// names matches what may be the name of a task or a queue.
var names = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// parameters are those of a URL, which has to be right as a whole: with one that
// is left out a list would be another.
func parameters(r *http.Request) (url.Values, error) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, wrong("query", err.Error(), "encode each name and value for a URL (%25 is a %), with & between them")
	}
	return v, nil
}

func readParameter(q *faena.Query, name, s string) (err error) {
	at := "query." + name
	switch name {
	case "state":
		for one := range strings.SplitSeq(s, ",") {
			st, err := faena.ParseState(one)
			if err != nil {
				return wrong(at, fmt.Sprintf("%q is no state", one), "use one of "+stateNames())
			}
			q.States = append(q.States, st)
		}
	case "queue":
		q.Queue = s
	case "task":
		q.Task = s
	case "tag":
		k, val, ok := strings.Cut(s, ":")
		if !ok || k == "" {
			return wrong(at, fmt.Sprintf("%q is not a key and a value", s), "write it as key:value")
		}
		q.Tags = append(q.Tags, faena.Tag{Key: k, Value: val})
	case "from":
		q.From, err = readTime(at, s)
	case "to":
		q.To, err = readTime(at, s)
	case "retried":
		if q.Retried, err = strconv.ParseBool(s); err != nil {
			err = wrong(at, fmt.Sprintf("want true or false, got %q", s), "send one of them")
		}
	case "limit":
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 || q.Limit > maxPage {
			err = wrong(at, fmt.Sprintf("want 1 to %d, got %q", maxPage, s), "send a number in that range, and follow next for more")
		}
	case "order":
		if q.Order = faena.Order(s); q.Order != faena.OrderNext && q.Order != faena.OrderEnded {
			err = wrong(at, fmt.Sprintf("%q is no order", s), "use next or ended, or leave it out for the newest first")
		}
	case "cursor":
		q.Cursor = s
	default:
		err = wrong(at, "there is no such parameter", "remove it, or see /api/v1/openapi.json for those there are")
	}
	return err
}

func (g *Gateway) list(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r)
	if err != nil {
		return err
	}
	q, err := readQuery(values)
	if err != nil {
		return err
	}
	p, err := g.turnTo(r.Context(), q)
	if err != nil {
		return err
	}
	if p.Next != "" {
		values.Set("cursor", p.Next)
		w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", r.URL.Path, values.Encode()))
	}
	p.Runs = orEmpty(p.Runs)
	return ok(w, p)
}

// turnTo reads the page of a list that a URL names.
func (g *Gateway) turnTo(ctx context.Context, q faena.Query) (*faena.Page, error) {
	p, err := g.node.Page(ctx, q)
	if q.Cursor != "" && faena.CodeOf(err) == faena.CodeInvalid { // all else has been checked
		return nil, wrong("query.cursor", fmt.Sprintf("%q is not a cursor of this list", q.Cursor), "send the next of the page before, with the same conditions, or no cursor for the first page")
	}
	return p, err
}

// runID reads the id in a request's path. One that cannot be an id names nothing.
func runID(r *http.Request) (faena.ID, error) {
	id, err := faena.ParseID(r.PathValue("id"))
	if err != nil {
		return id, &Problem{
			Status: http.StatusNotFound, Code: string(faena.CodeNotFound), Detail: fmt.Sprintf("%q is not the id of a run", r.PathValue("id")),
			Remedy: "use an id as it was given when the run was submitted: 26 letters and digits",
		}
	}
	return id, nil
}

func (g *Gateway) get(w http.ResponseWriter, r *http.Request) error {
	id, err := runID(r)
	if err != nil {
		return err
	}
	in, err := g.node.Get(r.Context(), id)
	if err != nil {
		return err
	}
	return ok(w, in)
}

func (g *Gateway) input(w http.ResponseWriter, r *http.Request) error {
	return value(w, r, func(ctx context.Context, id faena.ID) (json.RawMessage, error) {
		v, err := g.node.Input(ctx, id)
		return v, g.goneInput(ctx, id, err)
	})
}

// goneInput is an error about a run, with what is to be done if the run is there
// and only its input is not.
func (g *Gateway) goneInput(ctx context.Context, id faena.ID, err error) error {
	if faena.CodeOf(err) != faena.CodeNotFound {
		return err
	}
	if _, nerr := g.node.Get(ctx, id); nerr != nil {
		return err
	}
	p := problemOf(err)
	p.Remedy = "an input is not kept once its run has succeeded: whoever submitted the run has it"
	return p
}

func (g *Gateway) output(w http.ResponseWriter, r *http.Request) error {
	return value(w, r, g.node.Output)
}

// value answers with what read gives for the run that a request names, as it is.
func value(w http.ResponseWriter, r *http.Request, read func(context.Context, faena.ID) (json.RawMessage, error)) error {
	id, err := runID(r)
	if err != nil {
		return err
	}
	v, err := read(r.Context(), id)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(v)))
	_, _ = w.Write(v) // it is JSON and says so, with nosniff; an error means that the client is gone
	return nil
}

func (g *Gateway) cancel(w http.ResponseWriter, r *http.Request) error {
	if err := noBody(r); err != nil {
		return err
	}
	id, err := g.cancelRun(r)
	if err != nil {
		return err
	}
	in, err := g.node.Get(r.Context(), id)
	if err != nil {
		return err
	}
	return ok(w, in)
}

// cancelRun cancels the run that a request names; one that was cancelled before
// is cancelled.
func (g *Gateway) cancelRun(r *http.Request) (faena.ID, error) {
	id, err := runID(r)
	if err != nil {
		return id, err
	}
	states, err := g.node.Cancel(r.Context(), id)
	if err != nil {
		return id, err
	}
	if states[0] != faena.Cancelled {
		return id, &faena.Error{Code: faena.CodeConflict, Op: "cancel run " + id.String(), Err: fmt.Errorf("it has %s before", states[0])}
	}
	return id, nil
}

func (g *Gateway) retry(w http.ResponseWriter, r *http.Request) error {
	if err := noBody(r); err != nil {
		return err
	}
	again, err := g.retryRun(r)
	if err != nil {
		return err
	}
	return g.created(w, r, again, "")
}

func (g *Gateway) retryRun(r *http.Request) (faena.ID, error) {
	id, err := runID(r)
	if err != nil {
		return id, err
	}
	if err := g.mayAdd("retry run " + id.String()); err != nil {
		return id, err
	}
	again, err := g.node.Retry(r.Context(), id)
	if err != nil {
		return id, g.goneInput(r.Context(), id, err)
	}
	return again[0], nil
}

// selection is the body that selects runs to be changed.
type selection struct {
	States []string          `json:"states,omitempty" doc:"only runs in these states"`
	Queue  string            `json:"queue,omitempty" doc:"only runs of this queue"`
	Task   string            `json:"task,omitempty" doc:"only runs of this task"`
	Tags   map[string]string `json:"tags,omitempty" doc:"only runs with these tags"`
	From   string            `json:"from,omitempty" doc:"only runs submitted at or after this time, in RFC 3339"`
	To     string            `json:"to,omitempty" doc:"only runs submitted before this time, in RFC 3339"`
	All    bool              `json:"all,omitempty" doc:"true to select without any condition"`
}

func (*selection) example() string { return `{"task": "factorial", "states": ["failed"]}` }

func (s *selection) query() (faena.Query, error) {
	q := faena.Query{Queue: s.Queue, Task: s.Task}
	if !s.All && len(s.States) == 0 && s.Queue == "" && s.Task == "" && len(s.Tags) == 0 && s.From == "" && s.To == "" {
		return q, wrong("body", "no condition is given", `name at least one of states, queue, task, tags, from and to, or send "all": true`)
	}
	for _, name := range s.States {
		st, err := faena.ParseState(name)
		if err != nil {
			return q, wrong("body.states", fmt.Sprintf("%q is no state", name), "use some of "+stateNames())
		}
		q.States = append(q.States, st)
	}
	for k, v := range s.Tags {
		q.Tags = append(q.Tags, faena.Tag{Key: k, Value: v})
	}
	var err error
	if q.From, err = readTime("body.from", s.From); err != nil {
		return q, err
	}
	if q.To, err = readTime("body.to", s.To); err != nil {
		return q, err
	}
	return q, possible(q, "body.")
}

func (g *Gateway) retryAll(w http.ResponseWriter, r *http.Request) error {
	var s selection
	if err := g.readBody(w, r, &s); err != nil {
		return err
	}
	q, err := s.query()
	if err != nil {
		return err
	}
	if err := g.mayAdd("retry runs"); err != nil {
		return err
	}
	n, err := g.node.RetryAll(r.Context(), q)
	if err != nil {
		return err
	}
	return ok(w, Changed{n})
}

func (g *Gateway) cancelAll(w http.ResponseWriter, r *http.Request) error {
	var s selection
	if err := g.readBody(w, r, &s); err != nil {
		return err
	}
	q, err := s.query()
	if err != nil {
		return err
	}
	n, err := g.node.CancelAll(r.Context(), q)
	if err != nil {
		return err
	}
	return ok(w, Changed{n})
}
