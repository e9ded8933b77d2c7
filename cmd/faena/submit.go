package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/screen"
)

// submission is what faena run is told.
type submission struct {
	*remote
	input, queue        string
	tags                tags
	in, expire, timeout time.Duration
	attempts            int
	waitForWorker       bool
	detach              bool
}

func (a *app) submit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run TASK", GroupID: groupRuns,
		Short: "Submit a run of a task and print its result",
		Long: `Submit a run of a task, wait for its end, and print its output, as JSON, on
standard output; the run's id goes to standard error. Ctrl-C ends the waiting,
not the run.

A built-in task's runs have the attempts, timeout and retention of its
definition; those of other tasks have the library's, if nothing else is said. An
input that does not fit a built-in task is refused before it is stored.

A task that no live worker knows is refused, and so is a --queue that none takes
the task from, unless --wait-for-worker is given: then the run waits for one.`,
		Example: `  faena run report --input '{"month": 5}'
  faena run report --input @month.json --detach
  generate | faena run report --input - --tag customer=acme`,
		Args: exactly(1, "one TASK", "faena run report --input '{\"month\": 5}'"),
	}
	s := &submission{remote: serverFlags(cmd.Flags())}
	cmd.ValidArgsFunction = a.tasks(s.remote)
	f := cmd.Flags()
	f.StringVarP(&s.input, "input", "i", "null", "`JSON`, @file with it, or - for standard input")
	f.BoolVar(&s.waitForWorker, "wait-for-worker", false, "accept a task or --queue that no live worker takes, and wait for one")
	f.BoolVarP(&s.detach, "detach", "d", false, "print the id and do not wait for the end")
	f.StringVar(&s.queue, "queue", "", "`QUEUE` to wait in (default where workers take the task from)")
	f.VarP(&s.tags, "tag", "t", "tag as `KEY=VALUE`, to filter by; may be repeated")
	f.DurationVar(&s.in, "in", 0, "begin only after this time")
	f.DurationVar(&s.expire, "expire-in", 0, "fail the run if it has not ended after this time")
	f.DurationVar(&s.timeout, "timeout", 0, "bound for each attempt; 0 for none (default the task's own, else 1h)")
	f.IntVar(&s.attempts, "attempts", 0, "attempts in all, the second 1s after the first (default the task's own, else 5)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		input, err := readInput(cmd.Context(), s.input, a.in)
		if err != nil {
			return err
		}
		opts, err := s.options(cmd)
		if err != nil {
			return err
		}
		return a.submitted(cmd.Context(), s, args[0], input, opts)
	}
	return cmd
}

func (s *submission) options(cmd *cobra.Command) ([]faena.Option, error) {
	if err := bounded(cmd.Flags(), "attempts", 1, math.MaxUint16); err != nil {
		return nil, err
	}
	for flag, d := range map[string]time.Duration{"in": s.in, "expire-in": s.expire, "timeout": s.timeout} {
		if err := notNegative(flag, d); err != nil {
			return nil, err
		}
	}
	if cmd.Flags().Changed("expire-in") && s.expire == 0 {
		return nil, usage("--expire-in %v: want more than nothing, or leave it out for no end", s.expire)
	}
	var opts []faena.Option
	if s.queue != "" {
		opts = append(opts, faena.Queue(s.queue))
	}
	for k, v := range s.tags {
		opts = append(opts, faena.Tags(k, v))
	}
	changed := cmd.Flags().Changed
	if changed("attempts") {
		opts = append(opts, faena.Retry(s.attempts, time.Second))
	}
	if changed("timeout") {
		opts = append(opts, faena.Timeout(s.timeout))
	}
	return append(opts, faena.In(s.in), faena.ExpireIn(s.expire)), nil
}

func (a *app) submitted(ctx context.Context, s *submission, task string, input json.RawMessage, opts []faena.Option) (err error) {
	on, err := a.submitter(ctx, s.remote)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSoon(ctx, on)) }()
	id, err := on.submit(ctx, task, input, s, opts)
	if on.sent.doubt(ctx, err) {
		a.open(on.sent.ids[0])
	}
	switch faena.CodeOf(err) {
	case "":
	case faena.CodeUnknownTask:
		return fmt.Errorf("%w: start a worker that does, or say --wait-for-worker to let the run wait for one", err)
	case faena.CodeTooLarge:
		return oversized(strconv.Itoa(len(input)))
	default:
		return err
	}
	if s.detach {
		_, err := fmt.Fprintln(a.out, id)
		return err
	}
	fmt.Fprintf(a.err, "%s\n", id) //nolint:errcheck // to people
	err = a.result(ctx, on.Node, task, id)
	if ctx.Err() != nil {
		a.note("the run goes on: faena runs watch %s shows it, faena runs cancel %s ends it", id, id)
	}
	return err
}

// result waits for a run and prints its output.
func (a *app) result(ctx context.Context, node *faena.Node, task string, id faena.ID) error {
	f, err := faena.Attach[json.RawMessage](ctx, node, id)
	if err != nil {
		return err
	}
	j := &attached{name: task, future: f}
	bars := screen.NewBars(a.err)
	err = a.watched(ctx, node, j, bars, "")
	for _, d := range a.directs {
		if d.refused != nil && d.refused(task, err) {
			return usage("%w", err)
		}
	}
	if err != nil {
		return err
	}
	return writeOutput(a.out, j.output)
}

// writeOutput prints a run's output and ends its line.
func writeOutput(w io.Writer, out json.RawMessage) error {
	if _, err := w.Write(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// attached is a run of any task, to be waited for.
type attached struct {
	job    // the rest is not called
	name   string
	future *faena.Future[json.RawMessage]
	output json.RawMessage
}

func (t *attached) ids() []faena.ID { return []faena.ID{t.future.ID()} }
func (t *attached) pieces() string  { return "" }
func (t *attached) done() int       { return 0 }

func (t *attached) wait(ctx context.Context, _ console) (err error) {
	t.output, err = t.future.Get(ctx)
	return err
}
