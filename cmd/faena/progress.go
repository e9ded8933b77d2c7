package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/screen"
	"github.com/faena-dev/faena/tasks/factorial"
)

// progressEvery is how often progress is looked at, and askedFor how many runs
// are asked how far they are: of more it is enough to see them end.
const (
	progressEvery = 200 * time.Millisecond
	askedFor      = 8
)

// watched waits for a job's runs while their progress is shown. Once it takes
// long it says so, too.
func (a *app) watched(ctx context.Context, node *faena.Node, j job, bars *screen.Bars, slow string) error {
	over := console{output{ctx, a.out}, bars.Over(a.err)}
	if screen.IsTerminal(a.out) {
		over.out = bars.Over(over.out)
	}
	a.beside.Store(bars)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { showProgress(ctx, node, j, bars, over, slow, stop) })
	err := j.wait(ctx, over)
	close(stop)
	wg.Wait()
	return err
}

// showProgress draws a bar until stop. What is done soon gets none.
func showProgress(ctx context.Context, node *faena.Node, j job, bars *screen.Bars, over console, slow string, stop <-chan struct{}) {
	wait := slowElsewhere
	if bars.Shown() {
		wait = slowOnTerminal
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-stop:
		return
	case <-ctx.Done():
		return
	case <-t.C:
	}
	if slow != "" {
		fmt.Fprintf(over.err, "faena: %s\n", slow) //nolint:errcheck // to people
	}
	if !bars.Shown() {
		return
	}
	ids := j.ids()
	bar := bars.Add("", len(ids), j.pieces())
	defer bar.End()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		done, text := progress(ctx, node, j, ids)
		bar.Set(done, text)
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// progress is how much of a job is done, from 0 to 1, and what the one that
// spoke last says.
func progress(ctx context.Context, node *faena.Node, j job, ids []faena.ID) (float64, string) {
	done, text := float64(j.done()), ""
	if len(ids) <= askedFor {
		done = 0
		for _, id := range ids {
			in, err := node.Get(ctx, id)
			switch {
			case err != nil: // shown only
			case in.State.Terminal():
				done++
			case in.Progress != nil:
				done += in.Progress.Done
				text = step(in)
			default:
				text = idle(in)
			}
		}
	}
	return done / float64(max(len(ids), 1)), text
}

// step is what a run says that it does; how long that takes the bar tells.
func step(in *faena.Info) string {
	if in.Task == factorial.Compute.Name() {
		return factorial.Step(in.Progress.Text)
	}
	return in.Progress.Text
}

// idle says why a run makes no progress.
func idle(in *faena.Info) string {
	switch {
	case in.Waits != "":
		return in.Waits
	case in.State == faena.Retrying && in.Error != nil:
		return fmt.Sprintf("attempt %d failed: %s", in.Attempt, in.Error.Message)
	case in.State == faena.Running:
		return ""
	}
	return in.State.String()
}

func sortIDs(ids []faena.ID) {
	slices.SortFunc(ids, func(a, b faena.ID) int { return bytes.Compare(a[:], b[:]) })
}
