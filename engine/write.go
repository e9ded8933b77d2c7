package engine

import "errors"

// Write names one kind of change an engine makes to its store. Each is a point
// at which a process can die; tests try them all, before and after.
type Write string

// The writes.
const (
	WriteEnvelope   Write = "envelope"   // a run, or a chunk of them, into its queue
	WriteStage      Write = "stage"      // part of a batch, not visible yet
	WriteManifest   Write = "manifest"   // makes the staged parts runs
	WriteStarted    Write = "started"    // a run in doubt begins again
	WriteRecord     Write = "record"     // terminal records, into the log
	WriteFailed     Write = "failed"     // the copy of a run that failed or was cancelled
	WriteDelayed    Write = "delayed"    // a run to be started later
	WriteParked     Write = "parked"     // a run nobody here knows the task of
	WriteCancel     Write = "cancel"     // tells workers not to start a run
	WriteHome       Write = "home"       // a long run moves out of its queue
	WriteMembers    Write = "members"    // which nodes are alive
	WriteResolved   Write = "resolved"   // which copies of failed runs count
	WriteRetried    Write = "retried"    // which failed runs were retried
	WriteCheckpoint Write = "checkpoint" // what the next attempt resumes from
	WriteObject     Write = "object"     // a large value
	WriteAck        Write = "ack"        // a queue's message is done with
	WriteForget     Write = "forget"     // deletes what a run does not need any more
	WriteSync       Write = "sync"       // the commit
)

// Writes lists all kinds.
func Writes() []Write {
	return []Write{
		WriteEnvelope, WriteStage, WriteManifest, WriteStarted, WriteRecord, WriteFailed, WriteDelayed, WriteParked,
		WriteCancel, WriteHome, WriteMembers, WriteResolved, WriteRetried, WriteCheckpoint, WriteObject, WriteAck, WriteForget, WriteSync,
	}
}

// WriteHook is called before and after each write of an engine. An error before
// keeps the write from being made; an error after it makes its answer look lost.
// It is for tests and must be safe for concurrent use.
type WriteHook func(w Write, after bool) error

// ErrCrashed is what a hook returns to say that the process is dead: the engine
// makes no further write and tells nobody.
var ErrCrashed = errors.New("crashed")
