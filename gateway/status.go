package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/faena-dev/faena"
)

// askTime bounds what a probe, a page or a sample waits for the engine.
const askTime = 2 * time.Second

// Status is the answer of /status. State is ok; degraded, when Reasons say what
// does not work; or closing.
type Status struct {
	State         string            `json:"state" doc:"ok, degraded or closing"`
	Reasons       []string          `json:"reasons" doc:"why it is not ok"`
	Version       string            `json:"version"`
	UptimeSeconds float64           `json:"uptime_seconds"`
	Requests      int64             `json:"requests_handled" doc:"HTTP requests since the start, this one included"`
	Node          string            `json:"node" doc:"the id of this process"`
	Engine        string            `json:"engine" doc:"embedded or external"`
	Server        string            `json:"server" doc:"the version of nats-server"`
	Durability    Durability        `json:"durability"`
	IndexLag      int64             `json:"index_lag" doc:"stored messages that lists do not show yet"`
	Accepting     bool              `json:"accepting" doc:"false when space is short"`
	Throughput    float64           `json:"finished_per_second" doc:"over the last minute"`
	Queues        []faena.QueueInfo `json:"queues"`
}

// Durability is what an acknowledged run survives, and whether that is known.
type Durability struct {
	Mode     string `json:"mode" doc:"strict: a power cut; fast: the end of the process"`
	Verified bool   `json:"verified"`
	Detail   string `json:"detail,omitempty"`
}

// look gathers a node's status; what cannot be asked is a reason.
func (g *Gateway) look(ctx context.Context) *Status {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	s := &Status{
		State: "ok", Reasons: []string{}, Version: g.opts.Version, UptimeSeconds: float64(time.Since(g.started).Milliseconds()) / 1000,
		Requests: g.requests.Load(), Throughput: g.sampler.rate(time.Minute), Queues: []faena.QueueInfo{},
	}
	if e, err := g.node.Status(ctx); err != nil {
		s.Reasons = append(s.Reasons, "the engine does not answer: "+err.Error())
	} else {
		s.Node, s.Engine, s.Server, s.IndexLag, s.Accepting = e.Node, e.Engine, e.Server, e.IndexLag, e.Accepting
		s.Durability = Durability{Mode: e.Durability, Verified: e.Verified, Detail: e.Detail}
		if !e.Accepting {
			s.Reasons = append(s.Reasons, "no run is accepted: disk space is short")
		}
		if e.Damaged > 0 {
			s.Reasons = append(s.Reasons, "the disk has damaged what was stored: the log, and failed runs with code lost, say what; check the disk, and submit it again")
		}
	}
	if q, err := g.node.Queues(ctx); err != nil {
		s.Reasons = append(s.Reasons, "queues cannot be listed: "+err.Error())
	} else {
		s.Queues = orEmpty(q)
	}
	switch {
	case g.leaving.Load():
		s.State = "closing"
	case len(s.Reasons) > 0:
		s.State = "degraded"
	}
	return s
}

func (g *Gateway) status(w http.ResponseWriter, r *http.Request) error {
	return ok(w, g.look(r.Context()))
}

// livez says that the process serves requests, whatever else does not work: it
// is no reason to kill it that the engine is away.
func (g *Gateway) livez(w http.ResponseWriter, _ *http.Request) error {
	plain(w, http.StatusOK, "ok\n")
	return nil
}

// readyz says whether runs can be submitted here now.
func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), askTime)
	defer cancel()
	e, err := g.node.Status(ctx)
	switch {
	case g.leaving.Load():
		plain(w, http.StatusServiceUnavailable, "not ready: shutting down\n")
	case err != nil:
		plain(w, http.StatusServiceUnavailable, fmt.Sprintf("not ready: the engine does not answer: %s\n", err))
	case !e.Accepting:
		plain(w, http.StatusServiceUnavailable, "not ready: disk space is short\n")
	default:
		plain(w, http.StatusOK, "ok\n")
	}
	return nil
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // an error means that the client is gone
}
