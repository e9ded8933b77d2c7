package engine

import "errors"

// Code says what kind of error it is; the set is closed.
type Code string

// The codes of errors and of failed runs.
const (
	CodeFailed      Code = "failed"       // the handler's error, its attempts used up
	CodePermanent   Code = "permanent"    // the handler's error, not to be retried
	CodePanic       Code = "panic"        // the handler panicked
	CodeTimeout     Code = "timeout"      // an attempt took longer than its timeout
	CodeDeadline    Code = "deadline"     // the run's deadline has passed
	CodeInput       Code = "input"        // the input does not decode
	CodeLost        Code = "lost"         // workers died while executing it, too often, or the disk has damaged what was stored of it
	CodeCancelled   Code = "cancelled"    // the run was cancelled
	CodeInvalid     Code = "invalid"      // an argument is wrong
	CodeNotFound    Code = "not_found"    // nobody knows the run or queue
	CodeUnknownTask Code = "unknown_task" // no live worker knows the task
	CodeConflict    Code = "conflict"     // it contradicts what is there
	CodeTooLarge    Code = "too_large"    // a value is over its limit
	CodeLimit       Code = "limit"        // a bound is reached
	CodeFull        Code = "full"         // the disk has too little space
	CodeUnavailable Code = "unavailable"  // a part that is needed cannot be reached
	CodeClosed      Code = "closed"       // this node or engine is closed
	CodeVersion     Code = "version"      // written by, or running, another version
	CodeInternal    Code = "internal"     // the engine's own fault
)

// Error is every error of faena: what was tried, what kind of error it is, why.
type Error struct {
	Code  Code
	Op    string
	Err   error
	Stack string // of a handler's panic
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil && e.Op == "":
		return string(e.Code)
	case e.Err == nil:
		return e.Op + ": " + string(e.Code)
	case e.Op == "":
		return e.Err.Error()
	}
	return e.Op + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the first Error in err's chain, CodeInternal if there
// is none, and empty for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Causes that end an attempt's context.
var (
	ErrCancelled = errors.New("the run was cancelled")
	ErrTimeout   = errors.New("the attempt's timeout has passed")
	ErrDeadline  = errors.New("the run's deadline has passed")
	ErrShutdown  = errors.New("the worker is shutting down")
	ErrLost      = errors.New("the lease on the run was lost")
)
