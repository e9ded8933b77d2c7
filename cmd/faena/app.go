package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/screen"
	"github.com/faena-dev/faena/internal/workdir"
)

// app is one execution of the program.
type app struct {
	stdio
	args    []string
	directs []direct
	root    *cobra.Command
	begun   bool                        // a command is being executed: errors are no longer of the command line
	resumed *workdir.Dir                // what a direct command goes on with
	beside  atomic.Pointer[screen.Bars] // what is shown while work is waited for
}

// Groups of commands in the help.
const (
	groupDirect = "direct"
	groupServe  = "serve"
	groupRuns   = "runs"
)

func newApp(directs []direct, args []string, std stdio) *app {
	a := &app{stdio: std, args: args, directs: directs}
	a.root = &cobra.Command{
		Use:   "faena",
		Short: "Background work that survives crashes",
		Long: `faena does background work durably: what it has accepted is done, whatever
process dies meanwhile.

The direct commands need nothing but themselves. For work shared by several
processes start "faena serve", and workers beside it as needed.

Every flag marked $NAME can also be given by that environment variable; the
flag counts first.`,
		Example: `  faena factorial 1000
  faena serve --data ./data
  faena run report --input '{"month": 5}'
  faena runs list --state failed`,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := environment(cmd.Flags()); err != nil {
				return err
			}
			a.begun = true
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	a.root.Version = programVersion()
	a.root.SetVersionTemplate("faena {{.Version}}\n")
	a.root.Flags().Bool("version", false, "print the version")
	a.root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misused(err) })
	a.root.SetIn(std.in)
	a.root.SetOut(std.out)
	a.root.SetErr(std.err)
	a.root.AddGroup(
		&cobra.Group{ID: groupDirect, Title: "Work done here and now:"},
		&cobra.Group{ID: groupServe, Title: "Servers and workers:"},
		&cobra.Group{ID: groupRuns, Title: "Runs and queues of a server:"},
	)
	for _, d := range directs {
		a.root.AddCommand(a.direct(d))
	}
	a.root.AddCommand(
		a.resume(), a.serve(), a.worker(), a.submit(), a.runs(), a.queues(), a.version(),
		&cobra.Command{Use: "exit-codes", Short: "What exit codes mean", Long: exitCodesText},
	)
	a.complete(a.root)
	a.strictHelp()
	return a
}

// execute runs the command that the arguments name.
func (a *app) execute(ctx context.Context, args []string) error {
	a.root.SetArgs(args)
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		a.begun = true // its errors are none of the command line
		plainUsages(a.root)
	}
	cmd, err := a.root.ExecuteContextC(ctx)
	if err != nil && !a.begun {
		err = usage("%w\nsee %s --help", err, cmd.CommandPath())
	}
	return err
}

// complain tells of an error. That everything ended when it was told to needs no
// explanation.
func (a *app) complain(ctx context.Context, err error) {
	if _, own := errors.AsType[*fault](err); !own && signalled(ctx) != nil {
		err = errors.New("interrupted")
	}
	for i, line := range strings.Split(err.Error(), "\n") {
		line = screen.Clean(line)
		if i == 0 {
			line = screen.Paint(screen.Colours(a.err), screen.Red, "faena:") + " " + line
		}
		fmt.Fprintln(a.err, line) //nolint:errcheck // nobody else to tell
	}
}

// note tells something that is no error.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.err, "faena: "+format+"\n", args...) //nolint:errcheck // to people
}

// aside is note while a bar may be shown.
func (a *app) aside(text string) {
	fmt.Fprintf(a.beside.Load().Over(a.err), "faena: %s\n", text) //nolint:errcheck // to people
}

// env marks a flag as one that the environment can give.
func env(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		f := flags.Lookup(name)
		v := variable(name)
		f.Annotations = map[string][]string{"env": {v}}
		f.Usage += " ($" + v + ")"
	}
}

func variable(flag string) string {
	return "FAENA_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// environment sets the flags that were not given from the environment.
func environment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := f.Annotations["env"]
		if err != nil || f.Changed || len(name) == 0 {
			return
		}
		v := os.Getenv(name[0])
		if v == "" {
			return
		}
		if serr := f.Value.Set(v); serr != nil {
			err = usage("%s=%q: %w", name[0], v, accepted(f, serr))
		}
		f.Annotations[fromEnv] = name
	})
	return err
}

// fromEnv marks a flag whose value the environment gave.
const fromEnv = "from env"

// said is what a flag's value stands behind in errors: the flag, or the variable
// of the environment that gave it. It is empty if nobody gave one.
func said(flags *pflag.FlagSet, name string) string {
	f := flags.Lookup(name)
	switch {
	case f.Annotations[fromEnv] != nil:
		return variable(name) + "="
	case f.Changed:
		return "--" + name + " "
	}
	return ""
}

// stateDir is a directory for what this user's faena keeps.
func stateDir(name string) (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) { // as the XDG specification has it
		home, err := os.UserHomeDir()
		if err != nil {
			return "", usage("there is no home directory to keep data in: set HOME or XDG_STATE_HOME")
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "faena", name), nil
}

// format is how results are printed.
type format struct{ name string }

func (f *format) String() string { return f.name }
func (f *format) Type() string   { return "table|json" }

func (f *format) Set(s string) error {
	if s != "table" && s != "json" {
		return errors.New("want table or json")
	}
	f.name = s
	return nil
}

func (f *format) json() bool { return f.name == "json" }

func formatFlag(flags *pflag.FlagSet) *format {
	f := &format{"table"}
	flags.VarP(f, "output", "o", "print a `table|json`")
	return f
}

// handlers are those of all built-in tasks.
func (a *app) handlers() []faena.Handler {
	var all []faena.Handler
	for _, d := range a.directs {
		all = append(all, d.handlers()...)
	}
	return all
}

func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func (a *app) version() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs}
	out := formatFlag(cmd.Flags())
	cmd.RunE = func(*cobra.Command, []string) error {
		if out.json() {
			return printJSON(a.out, map[string]string{"version": programVersion()})
		}
		_, err := io.WriteString(a.out, "faena "+programVersion()+"\n")
		return err
	}
	return cmd
}
