package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
	"github.com/faena-dev/faena/internal/workdir"
)

// complete offers the values of flags that have but a few, to shells, and no files
// for arguments that are none.
func complete(cmd *cobra.Command) {
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
		complete(c)
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

// tasks completes a task by those of this program.
func (a *app) tasks(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		for _, h := range a.handlers() {
			names = append(names, h.Task())
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
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
