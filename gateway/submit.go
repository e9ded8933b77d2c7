package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/faena-dev/faena"
)

// maxWait bounds how long a request may wait for a run's end.
const maxWait = time.Minute

// settings of a run, as a request writes them.
type settings struct {
	Queue         string            `json:"queue,omitempty" doc:"where it waits, which live workers take the task from; default the task's own where this server has its definition, else the one that live workers take the task from"`
	Tags          map[string]string `json:"tags,omitempty" doc:"pairs that runs are filtered by"`
	Delay         string            `json:"delay,omitempty" doc:"before it may start, such as 90s; default none"`
	At            string            `json:"at,omitempty" doc:"when it may start, in RFC 3339; default at once"`
	Timeout       string            `json:"timeout,omitempty" doc:"of each attempt, 0s for none; default the task's own where this server has its definition, as it has of the built-in tasks, else 1h"`
	Deadline      string            `json:"deadline,omitempty" doc:"when it fails if it has not ended, in RFC 3339; default never"`
	Attempts      *int              `json:"attempts,omitempty" doc:"how often it is tried in all; default the task's own where this server has its definition, else 5; 5, too, if only backoff is given"`
	Backoff       string            `json:"backoff,omitempty" doc:"before the second attempt, doubled for each further one; default the task's own where this server has its definition, else 1s; 1s, too, if only attempts is given"`
	WaitForWorker bool              `json:"wait_for_worker,omitempty" doc:"store it even if no live worker knows the task, or takes it from the queue; default false"`
}

// submission is the body that submits a run.
type submission struct {
	Task  string          `json:"task" doc:"the task's name"`
	Input json.RawMessage `json:"input,omitempty" doc:"what the task takes; default null"`
	settings
	Wait string `json:"wait,omitempty" doc:"how long the answer may wait for the run's end, at most 1m; default not"`
}

// batchRequest is the body that submits many runs.
type batchRequest struct {
	Task   string            `json:"task" doc:"the task's name"`
	Inputs []json.RawMessage `json:"inputs" doc:"one for each run"`
	settings
}

func (*submission) example() string { return `{"task": "factorial", "input": {"n": 20}}` }

func (*batchRequest) example() string {
	return `{"task": "factorial", "inputs": [{"n": 20}, {"n": 21}]}`
}

// options are the settings as the library takes them.
func (s *settings) options() ([]faena.Option, error) {
	var opts []faena.Option
	if s.Queue != "" {
		opts = append(opts, faena.Queue(s.Queue))
	}
	for k, v := range s.Tags {
		opts = append(opts, faena.Tags(k, v))
	}
	if s.WaitForWorker {
		opts = append(opts, faena.WaitForWorker())
	}
	more, err := s.times()
	if err != nil {
		return nil, err
	}
	opts = append(opts, more...)
	if s.Attempts == nil && s.Backoff == "" {
		return opts, nil
	}
	attempts, backoff := 5, time.Second
	if s.Attempts != nil {
		if attempts = *s.Attempts; attempts < 1 || attempts > 65535 {
			return nil, wrong("body.attempts", fmt.Sprintf("want 1 to 65535, got %d", attempts), "send a number in that range")
		}
	}
	if s.Backoff != "" {
		if backoff, err = readDuration("body.backoff", s.Backoff); err != nil {
			return nil, err
		}
	}
	return append(opts, faena.Retry(attempts, backoff)), nil
}

func (s *settings) times() ([]faena.Option, error) {
	var opts []faena.Option
	if s.Delay != "" && s.At != "" {
		return nil, wrong("body.at", "delay says already when it starts", "send one of at and delay")
	}
	if s.Delay != "" {
		d, err := readDuration("body.delay", s.Delay)
		if err != nil {
			return nil, err
		}
		opts = append(opts, faena.In(d))
	}
	if s.At != "" {
		t, err := readTime("body.at", s.At)
		if err != nil {
			return nil, err
		}
		opts = append(opts, faena.At(t))
	}
	if s.Timeout != "" {
		d, err := readDuration("body.timeout", s.Timeout)
		if err != nil {
			return nil, err
		}
		opts = append(opts, faena.Timeout(d))
	}
	if s.Deadline != "" {
		t, err := readTime("body.deadline", s.Deadline)
		if err != nil {
			return nil, err
		}
		opts = append(opts, faena.Deadline(t))
	}
	return opts, nil
}

// taken refuses a queue that no live worker takes the task from, while some take it
// from another: the run would wait for ever, and the queue stand in every list.
func (g *Gateway) taken(ctx context.Context, task string, s *settings) error {
	if s.WaitForWorker || !names.MatchString(s.Queue) { // what is no name the node refuses
		return nil
	}
	nodes, err := g.node.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("see who takes task %s: %w", task, err)
	}
	var queues []string
	for i := range nodes {
		for _, r := range nodes[i].Routes {
			if r.Task == task {
				queues = append(queues, r.Queue)
			}
		}
	}
	if len(queues) == 0 || slices.Contains(queues, s.Queue) { // of none the node says it
		return nil
	}
	slices.Sort(queues)
	message := fmt.Sprintf("no live worker takes task %q from queue %q, but from %s", task, s.Queue, strings.Join(slices.Compact(queues), ", "))
	return &Problem{
		Status: http.StatusUnprocessableEntity, Code: string(faena.CodeUnknownTask), Detail: "body.queue: " + message,
		Remedy: `leave the queue out, start a worker that takes the task from it, or send "wait_for_worker": true to store the run until one does`,
		Errors: []Fault{{Location: "body.queue", Message: message}},
	}
}

// noTask says that a request names no task.
func noTask() error {
	return wrong("body.task", "no task is named", "send the name of a task; /api/v1/nodes lists those that live workers know")
}

func (g *Gateway) submit(w http.ResponseWriter, r *http.Request) error {
	if err := g.mayAdd("submit a run"); err != nil {
		return err
	}
	var s submission
	if err := g.readBody(w, r, &s); err != nil {
		return err
	}
	if s.Task == "" {
		return noTask()
	}
	wait, err := readDuration("body.wait", s.Wait)
	if err != nil {
		return err
	}
	if wait > maxWait {
		return wrong("body.wait", fmt.Sprintf("%s is over %s", wait, maxWait), "send a shorter time, and read the run again until it has ended")
	}
	opts, err := s.options()
	if err != nil {
		return err
	}
	if err := g.taken(r.Context(), s.Task, &s.settings); err != nil {
		return err
	}
	id, err := g.node.Submit(trace(r.Context(), r.Header), s.Task, s.Input, opts...)
	if err != nil {
		return err
	}
	s.Input = nil // it may be large, and the wait long
	if wait > 0 {
		g.await(r.Context(), id, wait)
	}
	return g.created(w, r, id, s.Task)
}

// trace is ctx, with the traceparent that a request came with.
func trace(ctx context.Context, h http.Header) context.Context {
	if p := h.Get("Traceparent"); p != "" && len(p) <= 255 {
		return faena.WithTrace(ctx, p)
	}
	return ctx
}

// created answers with a run that is stored. Where it cannot be read, that is no
// reason to say that it was not.
func (g *Gateway) created(w http.ResponseWriter, r *http.Request, id faena.ID, task string) error {
	in, err := g.node.Get(r.Context(), id)
	if err != nil {
		in = &faena.Info{ID: id, Task: task, State: faena.Queued, Created: id.Time()}
	}
	w.Header().Set("Location", "/api/v1/runs/"+id.String())
	send(w, http.StatusCreated, "application/json", in)
	return nil
}

// await blocks until a run has ended, d has passed, or the gateway closes.
func (g *Gateway) await(ctx context.Context, id faena.ID, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	f, err := faena.Attach[json.RawMessage](ctx, g.node, id)
	if err != nil {
		return // the run is stored; the answer shows it as it is
	}
	select {
	case <-f.Done():
	case <-ctx.Done():
	case <-g.done:
	}
}

func (g *Gateway) submitBatch(w http.ResponseWriter, r *http.Request) error {
	if err := g.mayAdd("submit a batch"); err != nil {
		return err
	}
	var b batchRequest
	if err := g.readBody(w, r, &b); err != nil {
		return err
	}
	if b.Task == "" {
		return noTask()
	}
	if len(b.Inputs) == 0 {
		return wrong("body.inputs", "there is none", "send a list with one input for each run")
	}
	opts, err := b.options()
	if err != nil {
		return err
	}
	if err := g.taken(r.Context(), b.Task, &b.settings); err != nil {
		return err
	}
	ids, err := g.node.SubmitBatch(trace(r.Context(), r.Header), b.Task, b.Inputs, opts...)
	if err != nil {
		return err
	}
	send(w, http.StatusCreated, "application/json", Batch{ids})
	return nil
}
