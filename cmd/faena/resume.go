package main

import (
	"errors"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/screen"
	"github.com/faena-dev/faena/internal/workdir"
)

func (a *app) resume() *cobra.Command {
	cmd := &cobra.Command{
		Use: "resume [ID]", GroupID: groupDirect,
		Short: "Go on with a direct command that was cut short",
		Long: `Go on with a direct command that was interrupted or killed, in the directory
and with the arguments it had. Nothing that had finished is done again. Of work at a
server (--server) it takes the results from there; --remove leaves its runs as they
are. The server's secret is not kept: it is taken as the command would take it now.

Without an ID it lists what can be resumed, and what is running. On a terminal
long commands are cut; -o json has all of them.`,
		Example: `  faena resume
  faena resume factorial-k3m9qd7a
  faena resume --remove factorial-k3m9qd7a`,
		Args: between(0, 1, "one ID at most", "faena resume factorial-k3m9qd7a"), ValidArgsFunction: interrupted,
	}
	out := formatFlag(cmd.Flags())
	remove := cmd.Flags().Bool("remove", false, "give up the work of ID instead")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		root, err := stateDir("work")
		if err != nil {
			return err
		}
		if len(args) == 0 {
			if *remove {
				return usage("--remove wants the ID of what to give up")
			}
			return a.leftBehind(root, out)
		}
		dir, err := workdir.Open(root, args[0])
		switch {
		case errors.Is(err, workdir.ErrNoID):
			if _, rerr := faena.ParseID(args[0]); rerr == nil {
				return usage("%q is the id of a run: faena resume takes those of direct commands, and lists them", args[0])
			}
			return usage("%q is no id of a direct command: faena resume lists them", args[0])
		case errors.Is(err, workdir.ErrNotFound):
			return &fault{exitNotFound, errors.New("nothing called " + args[0] + " was left behind: faena resume lists what was")}
		case errors.Is(err, workdir.ErrRunning):
			if *remove {
				return refused("%s is still running: end it first, by Ctrl-C where it was started, and then remove it", args[0])
			}
			return refused("%s is still running: there is nothing to resume", args[0])
		case err != nil:
			return err
		}
		if *remove {
			if dir.Server != "" && len(dir.Runs) > 0 {
				a.note("its work goes on at the server: faena runs cancel %s ends it", dir.Runs[0])
			}
			return dir.Remove()
		}
		defer dir.Close() //nolint:errcheck // nothing is written by it
		return a.again(cmd, dir)
	}
	return cmd
}

// again executes the command of a directory that was left behind.
func (a *app) again(cmd *cobra.Command, dir *workdir.Dir) error {
	if err := os.Chdir(dir.Cwd); err != nil {
		return refused("the directory that %s was started in cannot be entered: %w", dir.ID, err)
	}
	b := newApp(a.directs, dir.Args, a.stdio)
	b.resumed = dir
	return b.execute(cmd.Context(), dir.Args)
}

// leftBehind lists the work of commands that have not come to their end.
func (a *app) leftBehind(root string, out *format) error {
	all, err := workdir.List(root)
	if err != nil {
		return err
	}
	if out.json() {
		if all == nil {
			all = []workdir.Entry{}
		}
		return printJSON(a.out, all)
	}
	if len(all) == 0 {
		a.note("nothing was left behind")
		return nil
	}
	rows := make([][]screen.Cell, 0, len(all))
	for _, e := range all {
		state := screen.Cell{Text: "interrupted", Colour: screen.Yellow}
		if e.Running {
			state = screen.Cell{Text: "running", Colour: screen.Cyan}
		}
		rows = append(rows, []screen.Cell{
			screen.Text(e.ID), state, screen.Text(screen.Ago(time.Now(), e.Started)), screen.Text(commandLine(e.Args)),
		})
	}
	header := []string{"ID", "STATE", "STARTED", "COMMAND"}
	header, rows = screen.Fit(screen.Width(a.out), header, rows, 2)
	return screen.Table(a.out, screen.Colours(a.out), header, rows)
}

// commandLine shows arguments as they would be typed, without passwords.
func commandLine(args []string) string {
	words := []string{"faena"}
	for _, arg := range args {
		if u, err := url.Parse(arg); err == nil && u.User != nil {
			arg = u.Redacted()
		}
		if arg == "" || strings.ContainsAny(arg, " \t\n'\"\\$&|;<>()*?[]#~`!{}") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}
