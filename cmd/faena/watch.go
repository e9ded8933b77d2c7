package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/screen"
)

func (a *app) runsWatch() *cobra.Command {
	cmd := &cobra.Command{
		Use: "watch ID", Args: exactly(1, "one ID of a run", "faena runs watch 06h0qjha14001mvsst7wpahva0"),
		Short: "Follow a run until it ends",
		Long: `Follow a run until it ends: a bar on a terminal, elsewhere one line for each
change, or one JSON object with -o json. The exit code is 1 if it does not
succeed. Ctrl-C ends the watching, not the run.`,
		Example: `  faena runs watch 06h0qjha14001mvsst7wpahva0
  faena runs watch 06h0qjha14001mvsst7wpahva0 -o json`,
	}
	r, out := serverFlags(cmd.Flags()), formatFlag(cmd.Flags())
	cmd.ValidArgsFunction = one(a.from(r, recent()))
	cmd.RunE = a.with(r, func(ctx context.Context, node *faena.Node, ids []faena.ID) error {
		return a.watch(ctx, node, ids[0], out)
	})
	return cmd
}

func (a *app) watch(ctx context.Context, node *faena.Node, id faena.ID, out *format) error {
	var bars *screen.Bars
	if !out.json() {
		bars = screen.NewBars(a.out)
	}
	var bar *screen.Bar
	w := bars.Over(a.out)
	colours := screen.Colours(a.out)
	var last faena.Info
	for in, err := range node.Watch(ctx, id) {
		if err != nil {
			bar.End()
			return err
		}
		switch {
		case out.json():
			err = printLine(w, in)
		case !bars.Shown() || in.State != last.State:
			err = a.change(w, colours, in)
		}
		if err != nil {
			return err
		}
		if bars.Shown() && !in.State.Terminal() {
			if bar == nil {
				bar = bars.Add(in.Task, 1, "")
			}
			if in.Progress != nil {
				bar.Set(in.Progress.Done, step(in))
			}
		}
		last = *in
	}
	bar.End()
	if last.State != faena.Succeeded {
		return &fault{exitFailed, endOf(&last)}
	}
	return nil
}

// endOf is why a run did not succeed.
func endOf(in *faena.Info) error {
	if in.Error != nil && in.Error.Message != "" {
		return fmt.Errorf("run %s %s: %s", in.ID, in.State, in.Error.Message)
	}
	return errors.New("run " + in.ID.String() + " " + in.State.String())
}

// change prints a run's state as one line.
func (a *app) change(w interface{ Write([]byte) (int, error) }, colours bool, in *faena.Info) error {
	c := stateCell(in.State)
	line := time.Now().Format(time.TimeOnly) + " " + screen.Paint(colours, c.Colour, c.Text)
	if s := attempts(in); s != "" {
		line += " attempt " + s
	}
	if s := remark(in, time.Now()); s != "" {
		line += " " + screen.Clean(s)
	}
	_, err := fmt.Fprintln(w, line)
	return err
}
