package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/internal/screen"
	"github.com/faena-dev/faena/internal/workdir"
)

// complete offers the values of flags that have but a few, to shells, and no files
// for arguments that are none.
func (a *app) complete(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if values := choices(f); values != nil {
			// The error is for a flag that is not the command's.
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	})
	for _, c := range cmd.Commands() {
		a.complete(c)
	}
}

// choices are what a flag may be; nil if they are many.
func choices(f *pflag.Flag) []string {
	if _, ok := f.Value.(*format); ok {
		return []string{"table", "json"}
	}
	switch f.Name {
	case "state":
		var names []string
		for _, s := range faena.States() {
			names = append(names, s.String())
		}
		return names
	case "durability":
		return []string{embedded.Strict, embedded.Fast}
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	case "log-format":
		return []string{"text", "json"}
	}
	return nil
}

// firstOf completes the first argument; those behind it are files.
func firstOf(values []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return values, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
}

// interrupted completes the id of work that was left behind.
func interrupted(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var ids []string
	if root, err := stateDir("work"); err == nil && len(args) == 0 {
		all, _ := workdir.List(root) // without it nothing is offered
		for _, e := range all {
			if !e.Running {
				ids = append(ids, cobra.CompletionWithDesc(e.ID, commandLine(e.Args)))
			}
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// askedWithin is how long a server may take to say what there is to complete by.
const askedWithin = 300 * time.Millisecond

// offered is how many runs are offered.
const offered = 30

// from completes by what a server says, if it does so at once.
func (a *app) from(r *remote, ask func(ctx context.Context, node *faena.Node) []string) cobra.CompletionFunc {
	return a.fromOr(r, ask, nil)
}

// fromOr is from with what is offered where no server is found.
func (a *app) fromOr(r *remote, ask func(ctx context.Context, node *faena.Node) []string, alone []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		answer := make(chan []string, 1)
		ctx, cancel := context.WithTimeout(cmd.Context(), askedWithin)
		defer cancel()
		go func() { // which may take longer than it was told to
			found := alone
			if environment(cmd.Flags()) == nil {
				if s, err := a.connect(ctx, r, faena.Options{Logger: slog.New(slog.DiscardHandler)}); err == nil {
					found = ask(ctx, s.Node)
				}
			}
			answer <- found
		}()
		found := alone
		select {
		case found = <-answer:
		case <-ctx.Done(): // it may be that nothing is offered
		}
		return slices.DeleteFunc(slices.Clone(found), func(s string) bool {
			name, _, _ := strings.Cut(s, "\t")
			return slices.Contains(args, name)
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes the values of a flag that a command has.
func completeFlag(cmd *cobra.Command, flag string, by cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, by); err != nil {
		panic(err) // there is no such flag
	}
}

// one completes the first argument alone.
func one(by cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return by(cmd, args, begun)
	}
}

// queueNames are those of a server.
func queueNames(ctx context.Context, node *faena.Node) []string {
	all, _ := node.Queues(ctx) // without it nothing is offered
	var names []string
	for _, q := range all {
		names = append(names, q.Name)
	}
	return names
}

// taskNames are what the live workers of a server execute.
func taskNames(ctx context.Context, node *faena.Node) []string {
	all, _ := node.Nodes(ctx) // without it nothing is offered
	var names []string
	for i := range all {
		for _, r := range all[i].Routes {
			names = append(names, r.Task)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// recent are the latest runs of a server, in these states or in any.
func recent(states ...faena.State) func(context.Context, *faena.Node) []string {
	return func(ctx context.Context, node *faena.Node) []string {
		p, err := node.Page(ctx, faena.Query{States: states, Limit: offered})
		if err != nil {
			return nil // nothing is offered
		}
		names := make([]string, len(p.Runs))
		for i := range p.Runs {
			in := &p.Runs[i]
			names[i] = cobra.CompletionWithDesc(in.ID.String(), in.State.String()+" "+in.Task+", "+screen.Ago(time.Now(), in.Created))
		}
		return names
	}
}

// tasks completes a task by those that a server's workers execute, and without a
// server by those of this program; parts of their work are for no person to submit.
func (a *app) tasks(r *remote) cobra.CompletionFunc {
	var own, parts []string
	for _, d := range a.directs {
		parts = append(parts, d.parts...)
	}
	part := func(task string) bool { return slices.Contains(parts, task) }
	for _, h := range a.handlers() {
		own = append(own, h.Task())
	}
	return one(a.fromOr(r, func(ctx context.Context, node *faena.Node) []string {
		return slices.DeleteFunc(taskNames(ctx, node), part)
	}, slices.DeleteFunc(own, part)))
}

// plainUsages takes the marks of names out of what flags do, for what shows it as
// it is.
func plainUsages(cmd *cobra.Command) {
	plain := func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") }
	cmd.Flags().VisitAll(plain)
	cmd.PersistentFlags().VisitAll(plain)
	for _, c := range cmd.Commands() {
		plainUsages(c)
	}
}

// strictHelp makes help and completion refuse what there is none for, and does so
// before cobra adds commands that do not.
func (a *app) strictHelp() {
	a.root.InitDefaultHelpCmd()
	a.root.InitDefaultCompletionCmd()
	for _, cmd := range a.root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if found, rest, err := a.root.Find(args); err != nil || found == a.root && len(args) > 0 || len(rest) > 0 {
					return usage("there is no help on %q: faena help lists the commands", strings.Join(args, " "))
				}
				return nil
			}
		case "completion":
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() } // else its arguments are not looked at
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usage("there is no completion for %q: faena completion lists the shells", args[0])
				}
				return nil
			}
		}
	}
}
