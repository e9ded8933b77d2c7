package natsengine

import (
	"time"
	"unicode/utf8"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/internal/index"
)

func hasPrefix(s, p string) bool { return len(s) >= len(p) && s[:len(p)] == p }

// Order of what is known of a run within one revision: the envelope waits, it is
// due or queued, and then each start in doubt counts.
func rank(rev uint32, step uint8) uint32 { return rev<<8 | uint32(step) }

// rowVersion is of what the rows of the index mean.
const rowVersion = "2"

// stateUntaken is how the index keeps a run of a batch that no worker has taken and
// whose time had not come when the batch was read: it is scheduled, and queued once
// its time has come. The number is that of a state that is told by nodes alone.
const stateUntaken = uint8(engine.Waiting)

// stateOf is the state of a run, as far as the index knows.
func stateOf(row *index.Row, now time.Time) engine.State {
	switch {
	case row.State != stateUntaken:
		return engine.State(row.State)
	case row.At > now.UnixMilli():
		return engine.Scheduled
	default:
		return engine.Queued
	}
}

func runRow(r *engine.Run, src uint8, seq uint64, off int) index.Row {
	state, step := engine.Queued, uint8(1)
	waits := src == srcDelayed || r.At > time.Now().Add(soon).UnixMilli() // the latter in a batch that no worker has seen
	if src == srcDelayed {
		step = 0
	}
	if waits {
		if state = engine.Scheduled; r.Attempt > 0 || r.Failure != nil {
			state = engine.Retrying
		}
	}
	row := index.Row{
		ID: index.ID(r.ID), State: uint8(state), Queue: r.Queue, Task: r.Task, Keep: r.Keep[0],
		Rev: rank(r.Rev, step), Attempt: r.Attempt, Stream: src, Seq: seq, Off: uint32(off), //nolint:gosec // under a megabyte
		Tags: rowTags(r.Tags), RetryOf: index.ID(r.RetryOf), Objects: r.Input.Apart,
	}
	if waits {
		if row.At = r.At; src != srcDelayed {
			row.State = stateUntaken
		}
	}
	if r.Deadline != 0 {
		row.Tags = append(row.Tags, index.Tag{Key: tagDeadline, Value: "1"})
	}
	if r.Failure != nil {
		row.Note = note(r.Failure)
	}
	return row
}

func recordRow(r *engine.Record, seq uint64, off int) index.Row {
	row := index.Row{
		ID: index.ID(r.ID), State: uint8(r.State), Queue: r.Queue, Task: r.Task, Keep: r.Keep,
		Rev: r.Rev, Attempt: r.Attempt, Start: r.Start, End: r.End,
		Stream: srcLog, Seq: seq, Off: uint32(off), //nolint:gosec // under a megabyte
		Src: r.Src, SrcSeq: r.SrcSeq, Tags: rowTags(r.Tags), RetryOf: index.ID(r.RetryOf), Objects: r.Output.Apart,
	}
	switch {
	case r.State == engine.Running: // a start in doubt: the envelope stays where it was
		row.End = 0
		row.Stream, row.Seq, row.Off = r.Src, r.SrcSeq, uint32(r.CopySeq) //nolint:gosec // an offset
	case r.CopySeq != 0:
		row.Stream, row.Seq, row.Off = srcFailed, r.CopySeq, 0
	}
	if r.Failure != nil {
		row.Note = note(r.Failure)
	}
	return row
}

// note is what the index keeps of a failure: one that is cut ends with an ellipsis.
func note(f *engine.Failure) string {
	const most, mark = 160, "…"
	s := string(f.Code) + ": " + f.Message
	if len(s) <= most {
		return s
	}
	end := most - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}

func rowTags(tags []engine.Tag) []index.Tag {
	if len(tags) == 0 {
		return nil
	}
	out := make([]index.Tag, len(tags))
	for i, t := range tags {
		out[i] = index.Tag{Key: t.Key, Value: t.Value}
	}
	return out
}
