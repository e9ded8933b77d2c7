package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// atLeast wants so many arguments or more; what and example say which.
func atLeast(n int, what, example string) cobra.PositionalArgs {
	return between(n, int(^uint(0)>>1), what, example)
}

// exactly wants so many arguments.
func exactly(n int, what, example string) cobra.PositionalArgs {
	return between(n, n, what, example)
}

func between(least, most int, what, example string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usage("want %s, got %s: as in %s", what, count(len(args), "argument"), example)
		}
		return nil
	}
}

// misused says what is wrong with a flag in words of the command line.
func misused(err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return usage("--%s %q: %w", bad.GetFlag().Name, bad.GetValue(), accepted(bad.GetFlag(), bad.Unwrap()))
	}
	return err
}

// accepted is what a flag takes, else why it does not take what was given.
func accepted(f *pflag.Flag, err error) error {
	switch f.Value.Type() {
	case "int", "int64":
		return errors.New("want a whole number")
	case "duration":
		return errors.New("want a time with its unit, such as 30s or 1h30m")
	case "bool":
		return errors.New("want true or false")
	}
	return err
}

// tags are a flag's values, a key and what follows its "=" in each.
type tags map[string]string

func (t *tags) String() string { return "" } // not shown
func (t *tags) Type() string   { return "tag" }

func (t *tags) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return errors.New("want KEY=VALUE")
	}
	if was, twice := (*t)[k]; twice && was != v {
		return fmt.Errorf("want one value for a key: %q has %q, too", k, was)
	}
	if *t == nil {
		*t = tags{}
	}
	(*t)[k] = v
	return nil
}

// level is a flag's value: from which level on to log.
type level slog.Level

func (l *level) String() string { return slog.Level(*l).String() }
func (l *level) Type() string   { return "level" }

func (l *level) Set(s string) error {
	if err := (*slog.Level)(l).UnmarshalText([]byte(s)); err != nil {
		return errors.New("want debug, info, warn or error")
	}
	return nil
}

// notNegative refuses a time of a flag that is.
func notNegative[T int | time.Duration](flag string, v T) error {
	if v < 0 {
		return usage("--%s %v: want nothing negative", flag, v)
	}
	return nil
}

// fileNamed refuses a file name of nothing.
func fileNamed(name string) error {
	if name == "" {
		return usage("-o '': want the name of a file, or - for standard output")
	}
	return nil
}

// bounded refuses a flag's value that is not in its range.
func bounded(flags *pflag.FlagSet, name string, least, most int64) error {
	f := flags.Lookup(name)
	if !f.Changed {
		return nil
	}
	v, err := flags.GetInt64(name)
	if err != nil {
		n, ierr := flags.GetInt(name)
		if ierr != nil {
			return fmt.Errorf("read --%s: %w", name, ierr)
		}
		v = int64(n)
	}
	if v < least || v > most {
		return usage("--%s %d: want %d to %d", name, v, least, most)
	}
	return nil
}
