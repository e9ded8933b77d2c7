package faena_test

import (
	"context"
	"errors"
	"testing"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/engine"
)

// refusing is an engine whose worker refuses a queue.
type refusing struct {
	*loop

	queue string
}

func (r *refusing) Work(o engine.WorkOptions) (engine.Worker, error) { r.opts = o; return r, nil }

func (r *refusing) Handle(ctx context.Context, queue, task string) error {
	if queue == r.queue {
		return errors.New("no answer")
	}
	return r.loop.Handle(ctx, queue, task)
}

// The runs of a task that was taken from the first of its queues only failed with
// unknown_task: the handler had been taken back.
func TestHandlerRefusedByItsSecondQueue(t *testing.T) {
	t.Parallel()
	eng := &refusing{loop: newLoop(1), queue: "b"}
	n, err := faena.Open(t.Context(), eng, faena.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close() //nolint:errcheck // the test is over
	task := faena.Define[int, int]("t", faena.Queue("a"))
	h := task.With(func(_ context.Context, i int) (int, error) { return i, nil }).From("a", "b")
	for _, queue := range []string{"b", "a"} { // refused at first, and again for another reason
		eng.queue = queue
		if err := n.Handle(h); err == nil {
			t.Errorf("Handle with queue %s refused = nil", queue)
		}
		if got, err := task.Run(t.Context(), n, 7); err != nil || got != 7 {
			t.Errorf("Run in the queue that is taken = %d, %v, want 7", got, err)
		}
	}
	eng.queue = ""
	if err := n.Handle(h); err != nil {
		t.Errorf("Handle again = %v", err)
	}
	if err := n.Handle(h); faena.CodeOf(err) != faena.CodeConflict {
		t.Errorf("Handle of what is handled = %v, want conflict", err)
	}
}
