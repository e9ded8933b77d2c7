// Command faena runs background work durably: as a server, as a worker, as a
// client of either, or all in one for a single piece of work.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/remedy"
)

// version is set when the program is built.
var version string

// stdio is what a program reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

func main() { os.Exit(start(builtin())) }

// start runs the program on the process's own arguments, with these direct
// commands.
func start(directs []direct) int {
	ctx, stop := signals(context.Background())
	defer stop()
	return run(ctx, directs, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr})
}

// run executes the program and gives its exit code.
func run(ctx context.Context, directs []direct, args []string, std stdio) int {
	a := newApp(directs, args, std)
	err := a.execute(ctx, args)
	if _, said := errors.AsType[*faena.Error](err); !said && remedy.Full(err) { // else it says what to do
		err = remedy.Disk(err)
	}
	if err != nil && !unread(err) { // who went away knows
		a.complain(ctx, err)
	}
	return exitCode(ctx, err)
}

// signalError is the cause of a context that a signal ended.
type signalError struct{ sig syscall.Signal }

func (e *signalError) Error() string { return "stopped by " + e.sig.String() }

// signalled is the signal that ended ctx, nil if none did.
func signalled(ctx context.Context) *signalError {
	s, _ := errors.AsType[*signalError](context.Cause(ctx))
	return s
}

// sameSignal is within which a signal is taken for the one before: timeout(1)
// sends each to the process and to its group.
const sameSignal = 100 * time.Millisecond

// farewell is the key of what a second signal adds to its last line.
type farewell struct{}

// onEnd sets what the last line of the process that ctx is of says is to be done.
func onEnd(ctx context.Context, text string) {
	if words, ok := ctx.Value(farewell{}).(*atomic.Pointer[string]); ok {
		words.Store(&text)
	}
}

// signals gives a context that the first signal ends; the second ends the
// process.
func signals(parent context.Context) (context.Context, func()) {
	words := new(atomic.Pointer[string])
	words.Store(new(string))
	ctx, cancel := context.WithCancelCause(context.WithValue(parent, farewell{}, words))
	got := make(chan os.Signal, 2)
	done := make(chan struct{})
	signal.Ignore(syscall.SIGPIPE) // to write tells it, too, and then there is something to do
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		var first time.Time
		for {
			select {
			case s := <-got:
				sig, _ := s.(syscall.Signal)
				if first.IsZero() {
					first = time.Now()
				} else if time.Since(first) > sameSignal {
					fmt.Fprintln(os.Stderr, "faena: ended at once"+*words.Load())
					os.Exit(128 + int(sig))
				}
				cancel(&signalError{sig})
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(got)
		close(done)
		cancel(nil)
	}
}
