package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/remedy"
)

// Exit codes, as faena help exit-codes tells them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnavailable = 3
	exitNotFound    = 4
	exitRefused     = 5
	exitInternal    = 70
	exitUnread      = 128 + 13 // as a shell tells of SIGPIPE
)

const exitCodesText = `faena exits with

    0  all went well
    1  work failed: a run ended failed or cancelled, or some of several did, or
       a crawl read not a single page
    2  the command line or an input is wrong; so is an id that cannot be one
    3  something needed cannot be reached or is out of room: the server, the
       index, durable storage, space for an output; the same command may work
       later
    4  what was named is not there: a run, a queue, something to resume
    5  refused, because it contradicts what is there: a data directory in use, a
       task that no live worker knows, a run that has ended, another version, a
       secret that is not the server's
   70  a fault of faena itself
  141  the output was not read to its end, as by head; what a direct command had
       done is kept for faena resume
  130  interrupted by Ctrl-C (143: by SIGTERM, 129: by SIGHUP, as when its
       terminal is closed); what was submitted is kept. A server or worker that
       was asked to end, and did, exits with 0

A command that names several runs exits with the first code that applies.`

// fault is an error that this program found itself, with the code it ends in.
type fault struct {
	exit int
	err  error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func usage(format string, args ...any) error {
	return &fault{exitUsage, fmt.Errorf(format, args...)}
}

func refused(format string, args ...any) error {
	return &fault{exitRefused, fmt.Errorf(format, args...)}
}

// unwritable is what is wrong with an output: its place was chosen wrongly, unless
// only room is short there.
func unwritable(err error) error {
	if remedy.Full(err) {
		return &fault{exitUnavailable, err}
	}
	return usage("%w", err)
}

// unread tells whether an output could not be written because nobody reads it.
func unread(err error) bool {
	_, own := errors.AsType[*faena.Error](err) // of a connection
	return !own && errors.Is(err, syscall.EPIPE)
}

// exitCode is what an error means for whoever called the program.
func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return f.exit
	}
	if unread(err) {
		return exitUnread
	}
	if s := signalled(ctx); s != nil {
		return 128 + int(s.sig)
	}
	e, ok := errors.AsType[*faena.Error](err)
	if !ok && remedy.Full(err) {
		return exitUnavailable
	}
	if !ok && errors.Is(err, fs.ErrPermission) { // the place was chosen wrongly, or the user
		return exitUsage
	}
	if !ok { // files, pipes, networks
		return exitFailed
	}
	return codeExit(e.Code)
}

// codeExit is the exit code for each code of an error.
func codeExit(code faena.Code) int {
	switch code {
	case faena.CodeFailed, faena.CodePermanent, faena.CodePanic, faena.CodeTimeout, faena.CodeDeadline,
		faena.CodeLost, faena.CodeCancelled:
		return exitFailed
	case faena.CodeInvalid, faena.CodeInput, faena.CodeTooLarge:
		return exitUsage
	case faena.CodeUnavailable, faena.CodeClosed, faena.CodeLimit, faena.CodeFull:
		return exitUnavailable
	case faena.CodeNotFound:
		return exitNotFound
	case faena.CodeUnknownTask, faena.CodeConflict, faena.CodeVersion:
		return exitRefused
	case faena.CodeInternal:
		return exitInternal
	}
	return exitInternal
}
