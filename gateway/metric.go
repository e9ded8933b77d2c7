package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what the gateway counts itself, and what it asks the engine when
// it is scraped.
type metrics struct {
	g        *Gateway
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec

	up, runs, finished, paused, workers, nodes, slots, busy, lag, accepting *prometheus.Desc
}

func newMetrics(g *Gateway) (*prometheus.Registry, *metrics) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("faena_"+name, help, labels, nil)
	}
	m := &metrics{
		g: g,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "faena_http_requests_total", Help: "HTTP requests answered.",
		}, []string{"route", "method", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "faena_http_request_duration_seconds", Help: "How long HTTP requests took to answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"route"}),
		up:        desc("engine_up", "Whether the engine answered this scrape; if it did not, what only it knows is left out."),
		runs:      desc("runs", "Runs that are kept, by state.", "queue", "task", "state"),
		finished:  desc("runs_finished_total", "Runs that have ended on any node since this process began to watch.", "queue", "task", "state"),
		paused:    desc("queue_paused", "Whether the queue is paused.", "queue"),
		workers:   desc("queue_workers", "Nodes that take runs from the queue.", "queue"),
		nodes:     desc("nodes", "Live nodes."),
		slots:     desc("slots", "Attempts that all nodes can execute at a time."),
		busy:      desc("slots_busy", "Attempts that all nodes execute now."),
		lag:       desc("index_lag", "Stored messages that the index has not applied yet."),
		accepting: desc("accepting", "Whether runs are accepted; 0 when disk space is short."),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "faena_build_info", Help: "Always 1; the labels say what was built.",
		ConstLabels: prometheus.Labels{"version": g.opts.Version, "go_version": runtime.Version()},
	})
	build.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(m, m.requests, m.took, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r, m
}

// observe counts one request. Paths that no route has share a label, or anybody
// could make as many as they like.
func (m *metrics) observe(r *http.Request, status int, took time.Duration) {
	route := "none"
	if r.Pattern != "" {
		route = strings.TrimSuffix(r.Pattern, "{$}") // which says to the mux that it is the whole path
	}
	method := r.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(route).Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.up, m.runs, m.finished, m.paused, m.workers, m.nodes, m.slots, m.busy, m.lag, m.accepting} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for k, n := range m.g.sampler.finished() {
		ch <- prometheus.MustNewConstMetric(m.finished, prometheus.CounterValue, float64(n), k.queue, k.task, k.state.String())
	}
	err := m.engine(ctx, gauge)
	if err != nil {
		m.g.log.WarnContext(ctx, "the engine did not answer a scrape", slog.Any("error", err))
	}
	gauge(m.up, number(err == nil))
}

func (m *metrics) engine(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) error {
	s, err := m.g.node.Status(ctx)
	if err != nil {
		return err
	}
	gauge(m.lag, float64(s.IndexLag))
	gauge(m.accepting, number(s.Accepting))
	counts, err := m.g.node.Counts(ctx)
	if err != nil {
		return err
	}
	for _, c := range counts {
		gauge(m.runs, float64(c.N), c.Queue, c.Task, c.State.String())
	}
	queues, err := m.g.node.Queues(ctx)
	if err != nil {
		return err
	}
	for _, q := range queues {
		gauge(m.paused, number(q.Paused), q.Name)
		gauge(m.workers, float64(q.Workers), q.Name)
	}
	nodes, err := m.g.node.Nodes(ctx)
	if err != nil {
		return err
	}
	slots, busy := 0, 0
	for _, n := range nodes {
		slots, busy = slots+n.Slots, busy+n.Busy
	}
	gauge(m.nodes, float64(len(nodes)))
	gauge(m.slots, float64(slots))
	gauge(m.busy, float64(busy))
	return nil
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// scrape serves /metrics.
func (g *Gateway) scrape() func(http.ResponseWriter, *http.Request) error {
	h := promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelWarn), MaxRequestsInFlight: 4})
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}
