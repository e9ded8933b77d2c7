package faena

import (
	"errors"
	"fmt"
	"time"

	"github.com/faena-dev/faena/engine"
)

// Error is every error of this package and of its engines, but for those that
// wrap the end of a caller's context: what was tried, what kind of error it is,
// and why. The error of a failed run has the run's code
// and, after a panic, its stack.
type Error = engine.Error

// Code says what kind of error an [Error] is; the set is closed.
type Code = engine.Code

// The codes of errors and of failed runs.
const (
	CodeFailed      = engine.CodeFailed      // the handler's error, its attempts used up
	CodePermanent   = engine.CodePermanent   // the handler's error, not to be retried
	CodePanic       = engine.CodePanic       // the handler panicked
	CodeTimeout     = engine.CodeTimeout     // an attempt took longer than its timeout
	CodeDeadline    = engine.CodeDeadline    // the run's deadline has passed
	CodeInput       = engine.CodeInput       // the input does not decode
	CodeLost        = engine.CodeLost        // workers died while executing it, too often, or the disk has damaged what was stored of it
	CodeCancelled   = engine.CodeCancelled   // the run was cancelled
	CodeInvalid     = engine.CodeInvalid     // an argument is wrong
	CodeNotFound    = engine.CodeNotFound    // nobody knows the run or queue
	CodeUnknownTask = engine.CodeUnknownTask // no live worker knows the task
	CodeConflict    = engine.CodeConflict    // it contradicts what is there
	CodeTooLarge    = engine.CodeTooLarge    // a value is over its limit
	CodeLimit       = engine.CodeLimit       // a bound is reached
	CodeFull        = engine.CodeFull        // the disk has too little space
	CodeUnavailable = engine.CodeUnavailable // a part that is needed cannot be reached
	CodeClosed      = engine.CodeClosed      // this node or engine is closed
	CodeVersion     = engine.CodeVersion     // written by, or running, another version
	CodeInternal    = engine.CodeInternal    // the engine's own fault
)

// What ends an attempt's context early; context.Cause gives one of these. The
// error of a run that ended for such a reason wraps it too.
var (
	ErrCancelled = engine.ErrCancelled // the run was cancelled
	ErrTimeout   = engine.ErrTimeout   // the attempt's timeout has passed
	ErrDeadline  = engine.ErrDeadline  // the run's deadline has passed
	ErrShutdown  = engine.ErrShutdown  // the node closes, the grace is over
	ErrLost      = engine.ErrLost      // another node executes the run now
)

// CodeOf is the code of the first Error in err's chain, CodeInternal if there
// is none, and empty for nil.
func CodeOf(err error) Code { return engine.CodeOf(err) }

type permanentError struct{ is Error }

func (e *permanentError) Error() string { return e.is.Error() }
func (e *permanentError) Unwrap() error { return &e.is }

// Permanent marks a handler's error as one that no further attempt will mend:
// the run fails at once, with CodePermanent. It may be wrapped further, and joined
// with others, a [Snooze] included; the Permanent of nil is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{Error{Code: CodePermanent, Err: err}}
}

type snoozeError struct{ d time.Duration }

func (e *snoozeError) Error() string { return fmt.Sprintf("snooze for %s", e.d) }

// Snooze is the error a handler returns to be executed again after d, without
// this attempt being counted. A d that is not positive means one millisecond. It
// may be wrapped and joined with others; the first Snooze counts, and none where a
// [Permanent] is among them.
func Snooze(d time.Duration) error { return &snoozeError{max(d, time.Millisecond)} }

// snoozed is the Snooze that counts in a handler's error, nil if none does.
func snoozed(err error) (s *snoozeError) {
	if p, ok := errors.AsType[*permanentError](err); !ok || p == nil {
		s, _ = errors.AsType[*snoozeError](err)
	}
	return s
}

// fault is a failure of an attempt that faena found itself. It is no Error, but
// wraps one: a handler may return the Error of another run, which says nothing of
// its own.
type fault struct {
	is        Error
	permanent bool
}

func newFault(code Code, err error) *fault { return &fault{is: Error{Code: code, Err: err}} }

// lasting is a fault that no further attempt will mend.
func lasting(code Code, err error) *fault { return &fault{Error{Code: code, Err: err}, true} }

func (e *fault) Error() string { return e.is.Error() }
func (e *fault) Unwrap() error { return &e.is }

// remote is the message of a failure that happened elsewhere, with the sentinel
// that its code stands for, if any.
type remote struct {
	msg   string
	cause error
}

func (e *remote) Error() string { return e.msg }
func (e *remote) Unwrap() error { return e.cause }

// runError is the error of a run that ended with a failure.
func runError(task string, id ID, f *Failure) *Error {
	e := &Error{Code: f.Code, Op: fmt.Sprintf("run %s %s", task, id), Stack: f.Stack}
	var cause error
	switch f.Code {
	case CodeCancelled:
		cause = ErrCancelled
	case CodeTimeout:
		cause = ErrTimeout
	case CodeDeadline:
		cause = ErrDeadline
	default:
	}
	switch {
	case cause != nil && (f.Message == "" || f.Message == cause.Error()):
		e.Err = cause
	case f.Message == "":
	default:
		e.Err = &remote{f.Message, cause}
	}
	return e
}

func invalid(op, format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Op: op, Err: fmt.Errorf(format, args...)}
}

var errNodeClosed = errors.New("the node is closed")

func closed(op string) *Error { return &Error{Code: CodeClosed, Op: op, Err: errNodeClosed} }
