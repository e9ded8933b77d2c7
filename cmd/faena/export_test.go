package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine/embedded"
)

// Main runs the program with commands made for tests.
func Main() {
	os.Exit(start([]direct{steps(), words(), deafs(), hungs(), factorials(), images(), scrapes()}))
}

// What a shutdown may take.
const (
	DefaultGrace = defaultGrace
	AfterGrace   = afterGrace
)

// What tests look at from outside.
var (
	ExitCode    = exitCode
	ServerURL   = serverURL
	SamePlace   = samePlace
	CommandLine = commandLine
	ShowRun     = showRun

	ScrapeSummary = scrapeSummary
)

// crowded takes the disk for full while there is a file $FULL.
func crowded() bool {
	_, err := os.Stat(os.Getenv("FULL"))
	return err == nil
}

type stepsIn struct {
	N    int           `json:"n"`
	Each time.Duration `json:"each"`
	Log  string        `json:"log"`
}

var stepsTask = faena.Define[stepsIn, int]("steps", faena.Queue("steps"), faena.Retry(2, time.Millisecond), faena.Timeout(2*time.Hour))

// steps is one run of many steps, each with a line in a file.
func steps() direct {
	return direct{
		use: "steps N", short: "Take N steps", full: crowded,
		handlers: func() []faena.Handler { return []faena.Handler{stepsTask.With(takeSteps)} },
		setup: func(flags *pflag.FlagSet) func([]string) (job, error) {
			var in stepsIn
			flags.DurationVar(&in.Each, "each", 0, "time of a step")
			flags.StringVar(&in.Log, "log", os.DevNull, "file with a line for each step")
			return func(args []string) (job, error) {
				if len(args) != 1 {
					return nil, usage("want one N")
				}
				var err error
				if in.N, err = strconv.Atoi(args[0]); err != nil || in.N < 0 {
					return nil, usage("N %q: want a number that is not negative", args[0])
				}
				w := &work[stepsIn, int]{task: stepsTask, inputs: []stepsIn{in}}
				var n int
				w.each = func(_ console, _ stepsIn, v int, err error) error {
					if err != nil {
						return &fault{exitFailed, err}
					}
					n = v
					return nil
				}
				w.last = func(out console) error {
					_, err := fmt.Fprintln(out.out, n)
					return err
				}
				return w, nil
			}
		},
	}
}

func takeSteps(ctx context.Context, in stepsIn) (int, error) {
	var at int
	if _, err := faena.Resume(ctx, &at); err != nil {
		return 0, err
	}
	for ; at < in.N; at++ {
		faena.Progress(ctx, float64(at)/float64(in.N), fmt.Sprintf("step %d", at))
		if err := sleep(ctx, in.Each); err != nil {
			return 0, err
		}
		if err := appendLine(in.Log, strconv.Itoa(at)); err != nil {
			return 0, err
		}
		if err := faena.Checkpoint(ctx, at+1); err != nil {
			return 0, err
		}
	}
	return at, nil
}

type deafIn struct {
	Log string `json:"log"`
}

var deafTask = faena.Define[deafIn, int]("deaf", faena.Queue("deaf"))

// deafs is one run that never ends, whatever it is told.
func deafs() direct {
	return direct{
		use: "deaf LOG", short: "Never end", full: crowded,
		handlers: func() []faena.Handler {
			return []faena.Handler{deafTask.With(func(_ context.Context, in deafIn) (int, error) {
				if err := appendLine(in.Log, "began"); err != nil {
					return 0, err
				}
				select {}
			})}
		},
		setup: func(*pflag.FlagSet) func([]string) (job, error) {
			return func(args []string) (job, error) {
				return &work[deafIn, int]{task: deafTask, inputs: []deafIn{{args[0]}}, last: func(console) error { return nil }}, nil
			}
		},
	}
}

// hungs serves until its server hangs, which it does at its first start.
func hungs() direct {
	return direct{
		use: "hung LOG", short: "Start again, once",
		handlers: func() []faena.Handler { return nil },
		setup: func(*pflag.FlagSet) func([]string) (job, error) {
			return func(args []string) (job, error) {
				before, err := os.ReadFile(args[0])
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					return nil, err
				}
				if err := appendLine(args[0], strconv.Itoa(os.Getpid())); err != nil {
					return nil, err
				}
				if len(before) > 0 {
					return nil, &fault{exitFailed, errors.New("once is enough")}
				}
				ctx, cancel := context.WithCancelCause(context.Background())
				cancel(fmt.Errorf("start the embedded server again: %w", embedded.ErrHung))
				return nil, new(app).until(ctx, nil, faena.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
			}
		},
	}
}

type wordIn struct {
	Word string        `json:"word"`
	Each time.Duration `json:"each"`
	Log  string        `json:"log"`
}

var wordTask = faena.Define[wordIn, string]("word", faena.Queue("words"))

// words is a run for each argument; "bad" fails.
func words() direct {
	return direct{
		use: "words WORD...", short: "Say words",
		handlers: func() []faena.Handler { return []faena.Handler{wordTask.With(sayWord)} },
		setup: func(flags *pflag.FlagSet) func([]string) (job, error) {
			each := flags.Duration("each", 0, "time of a word")
			log := flags.String("log", os.DevNull, "file with a line for each word")
			return func(args []string) (job, error) {
				w := &work[wordIn, string]{task: wordTask, called: "words"}
				for _, arg := range args {
					w.inputs = append(w.inputs, wordIn{arg, *each, *log})
				}
				failed := 0
				w.each = func(out console, in wordIn, v string, err error) error {
					if err != nil {
						failed++
						_, err = fmt.Fprintf(out.err, "%s: %v\n", in.Word, err)
						return err
					}
					_, err = fmt.Fprintln(out.out, v)
					return err
				}
				w.last = func(console) error {
					if failed > 0 {
						return &fault{exitFailed, fmt.Errorf("%d of %d words failed", failed, len(args))}
					}
					return nil
				}
				return w, nil
			}
		},
	}
}

func sayWord(ctx context.Context, in wordIn) (string, error) {
	if in.Word == "bad" {
		return "", faena.Permanent(errors.New("a bad word"))
	}
	if err := sleep(ctx, in.Each); err != nil {
		return "", err
	}
	return in.Word + "!", appendLine(in.Log, in.Word)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func appendLine(path, line string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}
