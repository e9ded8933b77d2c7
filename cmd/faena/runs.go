package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/screen"
)

func (a *app) runs() *cobra.Command {
	cmd := &cobra.Command{
		Use: "runs", GroupID: groupRuns, Args: cobra.NoArgs,
		Short: "List, read, cancel, retry and watch runs",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.runsList(), a.runsGet(), a.runsCancel(), a.runsRetry(), a.runsWatch())
	return cmd
}

// on makes a command's function of one that is given an open node.
func (a *app) on(r *remote, fn func(ctx context.Context, node *faena.Node, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		s, err := a.connect(cmd.Context(), r, faena.Options{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		return fn(cmd.Context(), s.Node, args)
	}
}

// selection is which runs to list.
type selection struct {
	states      []string
	queue, task string
	tags        tags
	since       time.Duration
	limit       int
	retried     bool
	cursor      string
}

func (s *selection) query(now time.Time) (faena.Query, error) {
	q := faena.Query{Queue: s.queue, Task: s.task, Retried: s.retried, Cursor: s.cursor}
	for _, name := range s.states {
		state, err := faena.ParseState(name)
		if err != nil {
			return q, err
		}
		q.States = append(q.States, state)
	}
	for k, v := range s.tags {
		q.Tags = append(q.Tags, faena.Tag{Key: k, Value: v})
	}
	if err := notNegative("since", s.since); err != nil {
		return q, err
	}
	if err := notNegative("limit", s.limit); err != nil {
		return q, err
	}
	if s.since > 0 && s.cursor != "" {
		return q, usage("--cursor goes on with the list that it came from: leave --since out")
	}
	if s.since > 0 {
		q.From = now.Add(-s.since)
	}
	return q, nil
}

// page reads as many runs as were asked for, and gives the cursor of the rest.
func (s *selection) page(ctx context.Context, node *faena.Node, q faena.Query) ([]faena.Info, string, error) {
	const most = 500       // of one request
	runs := []faena.Info{} // [] in JSON
	for {
		if q.Limit = most; s.limit > 0 {
			q.Limit = min(s.limit-len(runs), most)
		}
		p, err := node.Page(ctx, q)
		if err != nil {
			return nil, "", err
		}
		runs = append(runs, p.Runs...)
		if s.limit > 0 && len(runs) >= s.limit || p.Next == "" {
			return runs, p.Next, nil
		}
		q.Cursor = p.Next
	}
}

func (a *app) runsList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Args: cobra.NoArgs,
		Short: "List runs, newest first",
		Long: `List runs, newest first. On a narrow terminal columns are left out and texts are
cut; elsewhere, and with -o json, all is there that a list holds: of an error 160
bytes, with an ellipsis if that is not all. "faena runs get" tells the rest.`,
		Example: `  faena runs list --state failed --since 24h
  faena runs list --task report --tag customer=acme -o json`,
	}
	f := cmd.Flags()
	r, out, s := serverFlags(f), formatFlag(f), &selection{}
	f.StringSliceVar(&s.states, "state", nil, "only in these `STATES`: scheduled, queued, running, waiting, retrying, succeeded, failed, cancelled")
	f.StringVar(&s.queue, "queue", "", "only in this `QUEUE`")
	f.StringVar(&s.task, "task", "", "only of this `TASK`")
	f.VarP(&s.tags, "tag", "t", "only with this tag, `KEY=VALUE`; may be repeated")
	f.DurationVar(&s.since, "since", 0, "only submitted within this time")
	f.IntVarP(&s.limit, "limit", "n", 20, "at most this many; 0 for all")
	f.StringVar(&s.cursor, "cursor", "", "go on where a list with the same filters ended, by the `CURSOR` it named")
	f.BoolVar(&s.retried, "retried", false, "also failed runs that were retried since")
	completeFlag(cmd, "queue", a.from(r, queueNames))
	completeFlag(cmd, "task", a.from(r, taskNames))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q, err := s.query(time.Now())
		if err != nil {
			return err
		}
		return a.on(r, func(ctx context.Context, node *faena.Node, _ []string) error {
			runs, next, err := s.page(ctx, node, q)
			if err != nil {
				return err
			}
			switch {
			case next != "" && s.since == 0:
				defer a.note("there are more: --cursor %s goes on with this list, -n 0 lists all", next)
			case next != "": // of another list then
				defer a.note("there are more: -n 0 lists all")
			}
			if out.json() {
				return printJSON(a.out, runs)
			}
			return runTable(a.out, screen.Colours(a.out), runs)
		})(cmd, args)
	}
	return cmd
}

func runTable(w io.Writer, colours bool, runs []faena.Info) error {
	now := time.Now()
	rows := make([][]screen.Cell, len(runs))
	for i := range runs {
		in := &runs[i]
		rows[i] = []screen.Cell{
			screen.Text(in.ID.String()), stateCell(in.State), screen.Text(in.Task), screen.Text(in.Queue),
			screen.Text(attempts(in)), screen.Text(screen.Ago(now, in.Created)), screen.Text(took(in, now)), screen.Text(remark(in, now)),
		}
	}
	header := []string{"ID", "STATE", "TASK", "QUEUE", "ATTEMPT", "CREATED", "TOOK", ""}
	header, rows = screen.Fit(screen.Width(w), header, rows, 3, 4, 6, 5, 7, 2) // the least important first
	return screen.Table(w, colours, header, rows)
}

func attempts(in *faena.Info) string {
	switch {
	case in.Attempt == 0:
		return ""
	case in.Attempts == 0:
		return strconv.Itoa(in.Attempt)
	}
	return fmt.Sprintf("%d/%d", in.Attempt, in.Attempts)
}

func took(in *faena.Info, now time.Time) string {
	switch {
	case in.Started == nil:
		return ""
	case in.Ended != nil:
		return screen.Span(in.Ended.Sub(*in.Started))
	case in.State == faena.Running || in.State == faena.Waiting:
		return screen.Span(now.Sub(*in.Started))
	}
	return ""
}

// remark is what is most worth knowing of a run, in one line.
func remark(in *faena.Info, now time.Time) string {
	switch {
	case in.RetriedBy != "":
		return "retried by " + in.RetriedBy
	case in.Error != nil && in.State == faena.Retrying && in.At != nil:
		return "again " + screen.Ago(now, *in.At) + ": " + in.Error.Message
	case in.Error != nil && in.State != faena.Cancelled:
		return in.Error.Message
	case in.Progress != nil && !in.State.Terminal():
		return fmt.Sprintf("%.0f%% %s", 100*in.Progress.Done, in.Progress.Text)
	case in.State == faena.Scheduled && in.At != nil:
		return "begins " + screen.Ago(now, *in.At)
	}
	return in.Waits
}

func (a *app) runsGet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get ID", Args: exactly(1, "one ID of a run", "faena runs get 06h0qjha14001mvsst7wpahva0"),
		Short: "Show all that is known of a run",
		Example: `  faena runs get 06h0qjha14001mvsst7wpahva0
  faena runs get 06h0qjha14001mvsst7wpahva0 --result > output.json
  faena runs get 06h0qjha14001mvsst7wpahva0 --input > input.json`,
	}
	r, out := serverFlags(cmd.Flags()), formatFlag(cmd.Flags())
	cmd.ValidArgsFunction = one(a.from(r, recent()))
	result := cmd.Flags().Bool("result", false, "print the run's output alone, whatever its size")
	input := cmd.Flags().Bool("input", false, "print the run's input alone, whatever its size; it is kept until the run has succeeded")
	cmd.RunE = a.with(r, func(ctx context.Context, node *faena.Node, ids []faena.ID) error {
		read := node.Output
		if *result && *input {
			return usage("want one of --result and --input")
		}
		if *input {
			read = node.Input
		}
		if *result || *input {
			v, err := read(ctx, ids[0])
			if err != nil {
				return err
			}
			return writeOutput(a.out, v)
		}
		in, err := node.Get(ctx, ids[0])
		if err != nil {
			return err
		}
		if out.json() {
			return printJSON(a.out, in)
		}
		return showRun(a.out, screen.Colours(a.out), in)
	})
	return cmd
}

// with is on for commands whose arguments are ids of runs.
func (a *app) with(r *remote, fn func(ctx context.Context, node *faena.Node, ids []faena.ID) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ids := make([]faena.ID, len(args))
		for i, arg := range args {
			id, err := faena.ParseID(arg)
			if err != nil {
				return usage("%q is no id of a run: faena runs list shows them", arg)
			}
			ids[i] = id
		}
		return a.on(r, func(ctx context.Context, node *faena.Node, _ []string) error {
			return fn(ctx, node, ids)
		})(cmd, args)
	}
}

func (a *app) runsCancel() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cancel ID...", Args: atLeast(1, "one or more IDs of runs", "faena runs cancel 06h0qjha14001mvsst7wpahva0"),
		Short: "Cancel runs that have not ended",
		Long: `Cancel runs that have not ended, with their children. One that had ended before
keeps its end, and the exit code is 5. If an ID is unknown none is cancelled, and
the exit code is 4.`,
		Example: `  faena runs cancel 06h0qjha14001mvsst7wpahva0
  faena runs list --task report --state queued -n 0 -o json | jq -r .[].id | xargs faena runs cancel`,
	}
	r := serverFlags(cmd.Flags())
	cmd.ValidArgsFunction = a.from(r, recent(faena.Scheduled, faena.Queued, faena.Running, faena.Waiting, faena.Retrying))
	cmd.RunE = a.with(r, func(ctx context.Context, node *faena.Node, ids []faena.ID) error {
		states, err := node.Cancel(ctx, ids...)
		if err != nil {
			return err
		}
		late := 0
		for i, s := range states {
			if s != faena.Cancelled {
				late++
				a.note("%s had %s before", ids[i], s)
				continue
			}
			if _, err := fmt.Fprintln(a.out, ids[i]); err != nil {
				return err
			}
		}
		if late > 0 {
			return refused("%s of %d had ended before", count(late, "run"), len(ids))
		}
		return nil
	})
	return cmd
}

func (a *app) runsRetry() *cobra.Command {
	cmd := &cobra.Command{
		Use: "retry ID...", Args: atLeast(1, "one or more IDs of runs", "faena runs retry 06h0qjha14001mvsst7wpahva0"),
		Short: "Submit failed or cancelled runs again, as new ones",
		Long: `Submit failed or cancelled runs again and print the ids of the new ones, in
order. The old ones are marked as retried.`,
		Example: `  faena runs retry 06h0qjha14001mvsst7wpahva0
  faena runs list --state failed --since 24h -n 0 -o json | jq -r .[].id | xargs faena runs retry`,
	}
	r := serverFlags(cmd.Flags())
	cmd.ValidArgsFunction = a.from(r, recent(faena.Failed, faena.Cancelled))
	cmd.RunE = a.with(r, func(ctx context.Context, node *faena.Node, ids []faena.ID) error {
		again, err := node.Retry(ctx, ids...)
		for _, id := range again {
			if _, werr := fmt.Fprintln(a.out, id); werr != nil {
				err = errors.Join(err, werr)
			}
		}
		return err
	})
	return cmd
}

// showRun prints a run as names and values.
func showRun(w io.Writer, colours bool, in *faena.Info) error {
	now := time.Now()
	stamp := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return t.Local().Format(time.RFC3339) + " (" + screen.Ago(now, *t) + ")"
	}
	rows := [][]screen.Cell{}
	add := func(name, v string) {
		if v != "" {
			rows = append(rows, []screen.Cell{{Text: name, Colour: screen.Bold}, screen.Text(v)})
		}
	}
	rows = append(rows, []screen.Cell{{Text: "state", Colour: screen.Bold}, stateCell(in.State)})
	add("task", in.Task)
	add("queue", in.Queue)
	add("attempt", attempts(in))
	if in.Deaths > 0 {
		add("deaths", strconv.Itoa(in.Deaths))
	}
	add("created", stamp(&in.Created))
	add("next", stamp(in.At))
	add("started", stamp(in.Started))
	add("ended", stamp(in.Ended))
	add("took", took(in, now))
	add("deadline", stamp(in.Deadline))
	add("node", in.Node)
	if in.Progress != nil {
		add("progress", fmt.Sprintf("%.1f%% %s", 100*in.Progress.Done, in.Progress.Text))
	}
	add("parent", in.Parent)
	add("retry of", in.RetryOf)
	add("retried by", in.RetriedBy)
	add("waits", in.Waits)
	for _, k := range slices.Sorted(maps.Keys(in.Tags)) {
		add("tag", k+"="+in.Tags[k])
	}
	if in.Error != nil {
		add("error", string(in.Error.Code)+": "+strings.TrimPrefix(in.Error.Message, string(in.Error.Code)+": ")) // a panic says so itself
	}
	add("input", oneLine(in.Input))
	switch {
	case in.InputSize > 0:
		add("input", fmt.Sprintf("%d bytes: see --input", in.InputSize))
	case in.State == faena.Succeeded:
		add("input", "gone: it is kept until the run has succeeded")
	}
	add("output", oneLine(in.Output))
	if in.OutputSize > 0 {
		add("output", fmt.Sprintf("%d bytes: see --result", in.OutputSize))
	}
	if err := screen.Table(w, colours, []string{"id", in.ID.String()}, rows); err != nil {
		return err
	}
	if in.Error != nil && in.Error.Stack != "" {
		_, err := fmt.Fprintf(w, "\n%s\n", screen.CleanLines(in.Error.Stack))
		return err
	}
	return nil
}

// oneLine shows the beginning of a JSON value.
func oneLine(v json.RawMessage) string {
	const most = 400
	if len(v) > most {
		return string(v[:most]) + fmt.Sprintf("… (%d bytes: see -o json)", len(v))
	}
	return string(v)
}
