package faena

import (
	"context"
	"sync"

	"github.com/faena-dev/faena/engine"
)

// children are the runs that an attempt has submitted.
type children struct {
	mu  sync.Mutex
	ids []ID // those to cancel with the parent
}

func (k *children) settle(context.Context) {}

// submit stores runs as children of the attempt's run.
func (a *attempt) submit(ctx context.Context, n *Node, o *order, runs []engine.Run) error {
	for i := range runs {
		runs[i].ID, runs[i].Parent = n.ids.New(), a.run.ID
	}
	return n.store(ctx, o, runs)
}
