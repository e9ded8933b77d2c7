package natsengine

import (
	"context"
	"errors"
	"fmt"

	"github.com/faena-dev/faena/engine"
)

// Input implements engine.Engine. The holder tells where the input is; what is
// stored apart is read from here.
func (e *Engine) Input(ctx context.Context, id engine.ID) ([]byte, error) {
	a, err := e.call(ctx, opInput, &request{After: e.wrote.all(), IDs: []engine.ID{id}})
	if err != nil {
		return nil, err
	}
	if a.Input == nil {
		return nil, &engine.Error{Code: engine.CodeInternal, Op: opInput, Err: errors.New("the answer has none")}
	}
	b, err := e.objects.value(ctx, *a.Input)
	if engine.CodeOf(err) == engine.CodeNotFound { // deleted since
		err = inputGone(id)
	}
	return b, err
}

// input is a run's input as its envelope has it. The envelope moves while the run
// is open: where it is not found it is looked for again once the index has caught
// up.
func (h *holder) input(ctx context.Context, ids []engine.ID) (*engine.Value, error) {
	if len(ids) != 1 {
		return nil, errors.New("want one id")
	}
	for last := false; ; last = true {
		row, err := h.row(ctx, ids[0])
		if err != nil {
			return nil, err
		}
		run, _, err := h.stored(ctx, row)
		if err != nil {
			return nil, err
		}
		if run != nil {
			return &run.Input, nil
		}
		if last || engine.State(row.State).Terminal() {
			return nil, inputGone(ids[0])
		}
		if err := h.barrierNow(ctx); err != nil {
			return nil, err
		}
	}
}

func inputGone(id engine.ID) error {
	return &engine.Error{Code: engine.CodeNotFound, Err: fmt.Errorf("the input of run %s is gone: it is kept until its run has succeeded", id)}
}
