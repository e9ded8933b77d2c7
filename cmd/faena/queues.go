package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/screen"
)

func (a *app) queues() *cobra.Command {
	cmd := &cobra.Command{
		Use: "queues", GroupID: groupRuns, Args: cobra.NoArgs,
		Short: "List, pause and resume queues",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.queuesList(),
		a.queuesEach("pause", "Start no more runs of queues; those under way go on", (*faena.Node).Pause),
		a.queuesEach("resume", "Start runs of queues again", (*faena.Node).Resume))
	return cmd
}

func (a *app) queuesList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Args: cobra.NoArgs,
		Short: "List queues, with their runs by state",
		Long: `List queues, with their runs by state. On a narrow terminal columns are left out,
those that tell of nothing first; elsewhere, and with -o json, everything is there.`,
		Example: "  faena queues list\n  faena queues list -o json",
	}
	r, out := serverFlags(cmd.Flags()), formatFlag(cmd.Flags())
	cmd.RunE = a.on(r, func(ctx context.Context, node *faena.Node, _ []string) error {
		all, err := node.Queues(ctx)
		if err != nil {
			return err
		}
		if out.json() {
			if all == nil {
				all = []faena.QueueInfo{}
			}
			return printJSON(a.out, all)
		}
		return a.queueTable(all)
	})
	return cmd
}

func (a *app) queueTable(all []faena.QueueInfo) error {
	header := []string{"QUEUE", "STATE", "WORKERS"}
	total := map[string]int64{}
	for _, s := range faena.States() {
		header = append(header, s.String())
	}
	rows := make([][]screen.Cell, 0, len(all))
	for _, q := range all {
		state := screen.Cell{Text: "active", Colour: screen.Green}
		if q.Paused {
			state = screen.Cell{Text: "paused", Colour: screen.Yellow}
		}
		row := []screen.Cell{screen.Text(q.Name), state, screen.Text(strconv.Itoa(q.Workers))}
		for _, s := range faena.States() {
			n := q.Counts[s.String()]
			total[s.String()] += n
			row = append(row, number(n, stateCell(s).Colour))
		}
		rows = append(rows, row)
	}
	drop := leastTold(header, total)
	fitted, rows := screen.Fit(screen.Width(a.out), header, rows, drop...)
	if err := screen.Table(a.out, screen.Colours(a.out), fitted, rows); err != nil {
		return err
	}
	var lack []string
	for _, i := range drop {
		if name := header[i]; total[name] > 0 && !slices.Contains(fitted, name) {
			lack = append(lack, name)
		}
	}
	if lack != nil {
		a.note("there is no room for %s: -o json has all", strings.Join(lack, ", "))
	}
	return nil
}

// leastTold are the columns of queues to leave out where room is short: those that
// tell of nothing first, then what needs the least attention.
func leastTold(header []string, total map[string]int64) []int {
	states := []faena.State{
		faena.Cancelled, faena.Succeeded, faena.Scheduled, faena.Waiting, faena.Retrying, faena.Queued, faena.Running, faena.Failed,
	}
	var empty, others []int
	for _, s := range states {
		if i := slices.Index(header, s.String()); total[s.String()] == 0 {
			empty = append(empty, i)
		} else {
			others = append(others, i)
		}
	}
	const state, workers = 1, 2
	return slices.Concat(empty, []int{workers}, others, []int{state})
}

// number is a count in its colour, if there is something to see.
func number(n int64, c screen.Colour) screen.Cell {
	if n == 0 {
		c = screen.Dim
	}
	return screen.Cell{Text: strconv.FormatInt(n, 10), Colour: c}
}

func (a *app) queuesEach(name, short string, do func(*faena.Node, context.Context, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " QUEUE...", Short: short, Args: atLeast(1, "one or more QUEUEs", "faena queues "+name+" image"),
		Long: short + `.

Queues are taken one after the other: the first that is not there ends it, with
exit code 4, and those before it stay changed.`,
		Example: "  faena queues " + name + " image\n  faena queues " + name + " image scrape",
	}
	r := serverFlags(cmd.Flags())
	cmd.ValidArgsFunction = a.from(r, queueNames)
	cmd.RunE = a.on(r, func(ctx context.Context, node *faena.Node, queues []string) error {
		for _, q := range queues {
			err := do(node, ctx, q)
			if faena.CodeOf(err) == faena.CodeNotFound {
				return fmt.Errorf("%w: faena queues list shows those there are", err)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return cmd
}
