package gateway

import (
	"context"
	"net/http"

	"github.com/faena-dev/faena"
)

// Batch is the answer to a batch: the ids of its runs, in the order of inputs.
type Batch struct {
	IDs []faena.ID `json:"ids" doc:"one for each input, in order"`
}

// Queues is the answer that lists queues.
type Queues struct {
	Queues []faena.QueueInfo `json:"queues"`
}

// Nodes is the answer that lists the live processes.
type Nodes struct {
	Nodes []faena.NodeInfo `json:"nodes"`
}

// Changed is the answer to a change of many runs.
type Changed struct {
	Runs int `json:"runs" doc:"how many were changed"`
}

func (g *Gateway) apiRoutes() []Route {
	const get, post = http.MethodGet, http.MethodPost
	reads := []int{http.StatusNotFound, http.StatusServiceUnavailable}
	changes := []int{http.StatusNotFound, http.StatusConflict, http.StatusUnsupportedMediaType, http.StatusServiceUnavailable}
	writes := []int{
		http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
		http.StatusTooManyRequests, http.StatusServiceUnavailable,
	}
	bulk := []int{http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusServiceUnavailable}
	return []Route{
		{Method: post, Path: "/api/v1/runs", Scope: Submit, Summary: "Submit a run", body: submission{}, answer: faena.Info{}, status: http.StatusCreated, failures: writes, serve: g.submit},
		{Method: post, Path: "/api/v1/runs:batch", Scope: Submit, Summary: "Submit many runs of a task: all are stored or none", body: batchRequest{}, answer: Batch{}, status: http.StatusCreated, failures: writes, serve: g.submitBatch},
		{Method: get, Path: "/api/v1/runs", Scope: Read, Summary: "List runs, newest first", query: listParameters(), answer: faena.Page{}, failures: []int{http.StatusBadRequest, http.StatusServiceUnavailable}, serve: g.list},
		{Method: get, Path: "/api/v1/runs/{id}", Scope: Read, Summary: "Read a run, with its input, output or error", answer: faena.Info{}, failures: reads, serve: g.get},
		{Method: get, Path: "/api/v1/runs/{id}/input", Scope: Read, Summary: "Read the input of a run that has not succeeded, whatever its size", failures: reads, serve: g.input},
		{Method: get, Path: "/api/v1/runs/{id}/output", Scope: Read, Summary: "Read the output of a run that succeeded, whatever its size", failures: append(reads, http.StatusConflict), serve: g.output},
		{Method: post, Path: "/api/v1/runs/{id}/cancel", Scope: Control, Summary: "Cancel a run", answer: faena.Info{}, failures: changes, serve: g.cancel},
		{Method: post, Path: "/api/v1/runs/{id}/retry", Scope: Control, Summary: "Run a failed or cancelled run again, as a new one", answer: faena.Info{}, status: http.StatusCreated, failures: changes, serve: g.retry},
		{Method: post, Path: "/api/v1/runs:retry", Scope: Control, Summary: "Run all failed runs that are selected again", body: selection{}, answer: Changed{}, failures: bulk, serve: g.retryAll},
		{Method: post, Path: "/api/v1/runs:cancel", Scope: Control, Summary: "Cancel all open runs that are selected", body: selection{}, answer: Changed{}, failures: bulk, serve: g.cancelAll},
		{Method: get, Path: "/api/v1/counts", Scope: Read, Summary: "Count runs by queue, task and state", answer: Counts{}, failures: []int{http.StatusServiceUnavailable}, serve: g.counts},
		{Method: get, Path: "/api/v1/queues", Scope: Read, Summary: "List queues", answer: Queues{}, failures: []int{http.StatusServiceUnavailable}, serve: g.queues},
		{Method: post, Path: "/api/v1/queues/{queue}/pause", Scope: Control, Summary: "Stop starting a queue's runs, everywhere, until resume", status: http.StatusNoContent, failures: changes, serve: g.pause},
		{Method: post, Path: "/api/v1/queues/{queue}/resume", Scope: Control, Summary: "Start a queue's runs again", status: http.StatusNoContent, failures: changes, serve: g.resume},
		{Method: get, Path: "/api/v1/nodes", Scope: Read, Summary: "List the live processes", answer: Nodes{}, failures: []int{http.StatusServiceUnavailable}, serve: g.nodes},
		{Method: get, Path: "/api/v1/openapi.json", Scope: Public, Summary: "This description", serve: g.openAPI},
	}
}

// Counts is the answer that counts runs.
type Counts struct {
	Counts []faena.Count `json:"counts"`
}

func ok(w http.ResponseWriter, v any) error {
	send(w, http.StatusOK, "application/json", v)
	return nil
}

func (g *Gateway) counts(w http.ResponseWriter, r *http.Request) error {
	c, err := g.node.Counts(r.Context())
	if err != nil {
		return err
	}
	return ok(w, Counts{orEmpty(c)})
}

func (g *Gateway) queues(w http.ResponseWriter, r *http.Request) error {
	q, err := g.node.Queues(r.Context())
	if err != nil {
		return err
	}
	return ok(w, Queues{orEmpty(q)})
}

func (g *Gateway) nodes(w http.ResponseWriter, r *http.Request) error {
	n, err := g.node.Nodes(r.Context())
	if err != nil {
		return err
	}
	return ok(w, Nodes{orEmpty(n)})
}

// orEmpty makes a list that is told as [], never as null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (g *Gateway) pause(w http.ResponseWriter, r *http.Request) error {
	if err := noBody(r); err != nil {
		return err
	}
	if err := g.setPause(r, g.node.Pause); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (g *Gateway) resume(w http.ResponseWriter, r *http.Request) error {
	if err := noBody(r); err != nil {
		return err
	}
	if err := g.setPause(r, g.node.Resume); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// setPause pauses or resumes the queue that a request names.
func (g *Gateway) setPause(r *http.Request, do func(context.Context, string) error) error {
	err := do(r.Context(), r.PathValue("queue"))
	if faena.CodeOf(err) != faena.CodeNotFound {
		return err
	}
	p := *problemOf(err)
	p.Remedy = "check the name: /api/v1/queues lists the queues there are; the first run or worker of a queue makes it"
	return &p
}
