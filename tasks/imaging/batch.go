package imaging

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/faena-dev/faena"
)

// checkBatch tells why a run would fail whatever the files hold.
func (h *handlers) checkBatch(in Input) error {
	if _, err := in.named(); err != nil {
		return err
	}
	_, _, err := h.limits(in.Settings)
	return err
}

// batch is the handler of Batch.
func (h *handlers) batch(ctx context.Context, in Input) (Summary, error) {
	call, ok := faena.Current(ctx)
	if !ok {
		return Summary{}, faena.Permanent(errors.New("process a batch outside of a run"))
	}
	files, err := Plan(in)
	if err != nil {
		return Summary{}, hopeless(err)
	}
	b := &batch{files: files, outcomes: make([]Outcome, len(files)), failed: map[int]Outcome{}}
	if err := b.resume(ctx); err != nil {
		return Summary{}, err
	}
	if err := b.run(ctx, call.Node()); err != nil {
		return Summary{}, err
	}
	var s Summary
	dirs := map[string]bool{}
	for i, o := range b.outcomes {
		s.Add(o)
		if dir := filepath.Dir(files[i].Out); !dirs[dir] {
			dirs[dir] = true
			sweep(ctx, dir) // a worker that died here may not have come back
		}
	}
	return s, nil
}

// batch is one attempt of a run of Batch.
type batch struct {
	files    []File
	outcomes []Outcome
	ended    int
	// failed are the files that failed, by number. They are saved: a child that
	// failed would be tried again by the next attempt, one that succeeded is found.
	failed map[int]Outcome
}

// resume takes over what failed in an earlier attempt.
func (b *batch) resume(ctx context.Context) error {
	if _, err := faena.Resume(ctx, &b.failed); err != nil {
		return err
	}
	for i, o := range b.failed {
		if i < 0 || i >= len(b.files) || b.files[i].In != o.In {
			return faena.Permanent(fmt.Errorf("go on: %s was number %d of the files, and is no more", o.In, i))
		}
		b.outcomes[i] = o
		b.ended++
	}
	b.report(ctx)
	return nil
}

// run has the rest of the files processed.
func (b *batch) run(ctx context.Context, node *faena.Node) error {
	var at []int
	rest := func(yield func(File) bool) {
		for i, f := range b.files {
			if _, bad := b.failed[i]; bad {
				continue
			}
			at = append(at, i)
			if !yield(f) {
				return
			}
		}
	}
	for r, err := range Process.Map(ctx, node, rest) {
		if err != nil && !ranAndFailed(ctx, err) {
			return fmt.Errorf("process %d files: %w", len(b.files), err)
		}
		i := at[r.Index]
		b.outcomes[i] = r.In.Outcome(r.ID, r.Out, err)
		b.ended++
		if err != nil {
			b.failed[i] = b.outcomes[i]
		}
		b.report(ctx)
		if len(b.failed) > 0 { // also after a success: the last call may have been left out
			if err := faena.Checkpoint(ctx, b.failed); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) report(ctx context.Context) {
	text := fmt.Sprintf("%d of %d files", b.ended, len(b.files))
	if n := len(b.failed); n > 0 {
		text = fmt.Sprintf("%s, %d failed", text, n)
	}
	faena.Progress(ctx, float64(b.ended)/float64(len(b.files)), text)
}

// ranAndFailed tells the end of a child from the end of waiting for it.
func ranAndFailed(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	switch faena.CodeOf(err) {
	case faena.CodeFailed, faena.CodePermanent, faena.CodePanic, faena.CodeTimeout, faena.CodeDeadline, faena.CodeInput,
		faena.CodeLost, faena.CodeCancelled:
		return true
	default:
		return false
	}
}

// Outcome is how the run of Process for this file ended: with done, or with the
// error of its future.
func (f File) Outcome(run faena.ID, done Done, err error) Outcome {
	o := Outcome{In: f.In, Out: f.Out, Run: run}
	if err == nil {
		o.Done = &done
		return o
	}
	if e, ok := errors.AsType[*faena.Error](err); ok && e.Err != nil {
		err = e.Err // without the run's name
	}
	o.Error = strings.TrimPrefix(err.Error(), f.In+": ")
	return o
}
