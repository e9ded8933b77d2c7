package factorial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/factorial/bignum"
	"github.com/faena-dev/faena/tasks/factorial/product"
)

// part is the handler of Part. There are enough parts for all processors, so that
// one goroutine for each is right.
func (o Options) part(ctx context.Context, p product.Part) (Value, error) {
	z, err := p.Product(ctx, product.Options{Workers: 1, Progress: func(done float64) { faena.Progress(ctx, done, "") }})
	if err != nil {
		return Value{}, hopeless(err)
	}
	return valueOf(z), nil
}

// multiply is the handler of Multiply.
func (o Options) multiply(ctx context.Context, p Pair) (Value, error) {
	if p.Beside < 1 {
		return Value{}, faena.Permanent(fmt.Errorf("multiply %s by %s, one of %d beside each other: it makes no sense", p.Left, p.Right, p.Beside))
	}
	left, err := output[Value](ctx, p.Left)
	if err != nil {
		return Value{}, err
	}
	x := left.number()
	y := x // a square takes less time
	if p.Right != p.Left {
		right, err := output[Value](ctx, p.Right)
		if err != nil {
			return Value{}, err
		}
		y = right.number()
	}
	pool := bignum.NewPool(o.options(p.Beside, nil).Workers)
	span := bignum.Track(func(done float64) { faena.Progress(ctx, done, "") })
	z, err := pool.Mul(ctx, x, y, span)
	if err != nil {
		return Value{}, fmt.Errorf("multiply %d by %d bits: %w", x.BitLen(), y.BitLen(), err)
	}
	return valueOf(z), nil
}

// output is what the run with that id gave, for another run of its family.
func output[T any](ctx context.Context, id faena.ID) (T, error) {
	var none T
	call, ok := faena.Current(ctx)
	if !ok {
		return none, faena.Permanent(fmt.Errorf("read the output of %s outside of a run", id))
	}
	fut, err := faena.Attach[T](ctx, call.Node(), id)
	if err != nil {
		return none, fmt.Errorf("find the output of %s: %w", id, err)
	}
	v, err := fut.Get(ctx)
	if err != nil {
		return none, fmt.Errorf("read the output of %s: %w", id, err)
	}
	return v, nil
}

// family submits and awaits the children of a run.
type family struct {
	node  *faena.Node
	meter *meter
}

func familyOf(ctx context.Context, m *meter) (family, error) {
	call, ok := faena.Current(ctx)
	if !ok {
		return family{}, faena.Permanent(errors.New("compute a factorial outside of a run"))
	}
	return family{node: call.Node(), meter: m}, nil
}

// parts has the parts of a plan computed.
func (f family) parts(ctx context.Context, plan []product.Part) ([]*faena.Future[Value], error) {
	values, err := Part.Batch(ctx, f.node, plan)
	if err != nil {
		return nil, err
	}
	f.meter.enter(partShare, fmt.Sprintf("compute %d parts", len(plan)))
	return values, wait(ctx, f, values, 0, 1)
}

// multiply has values multiplied along the tree, level by level.
func (f family) multiply(ctx context.Context, values []*faena.Future[Value]) (*faena.Future[Value], error) {
	steps, weights := product.Tree(len(values)), shares(len(values))
	done := 0.0
	for len(steps) > 0 {
		level := steps
		for i, s := range steps {
			if s.Level != steps[0].Level {
				level = steps[:i]
				break
			}
		}
		pairs := make([]Pair, len(level))
		share := 0.0
		for i, s := range level {
			pairs[i] = Pair{values[s.Left].ID(), values[s.Right].ID(), len(level)}
			share += weights[s.Out]
		}
		products, err := Multiply.Batch(ctx, f.node, pairs)
		if err != nil {
			return nil, err
		}
		if err := wait(ctx, f, products, done, share); err != nil {
			return nil, err
		}
		done += share
		values = append(values, products...)
		steps = steps[len(level):]
	}
	return values[len(values)-1], nil
}

// shares are the shares of all work that the steps of a tree of k values take, by
// the number of their result. A product takes about its length to the power 1.465,
// as the three-way method does.
func shares(k int) []float64 {
	out := make([]float64, k, 2*k)
	leaves := make([]float64, k, 2*k)
	for i := range leaves {
		leaves[i] = 1
	}
	total := 0.0
	for _, s := range product.Tree(k) {
		leaves = append(leaves, leaves[s.Left]+leaves[s.Right])
		out = append(out, math.Pow(leaves[s.Out], 1.465))
		total += out[s.Out]
	}
	for i := range out {
		out[i] /= max(total, 1)
	}
	return out
}

const (
	// lookEvery is how often the progress of children is looked at, where there are
	// at most lookMost: of more, the ends are progress enough.
	lookEvery = 500 * time.Millisecond
	lookMost  = 4
)

// wait waits for children that take the share of the step under way that begins
// at done. It does not read their values.
func wait[T any](ctx context.Context, f family, children []*faena.Future[T], done, share float64) error {
	each := share / float64(len(children))
	finished := 0
	if len(children) <= lookMost {
		over := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { look(ctx, f.node, children, over, func(sum float64) { f.meter.report(done + each*sum) }) })
		defer wg.Wait()
		defer close(over)
	}
	for _, err := range faena.AsCompleted(ctx, children...) {
		if err != nil {
			return err
		}
		finished++
		f.meter.report(done + each*float64(finished))
	}
	return nil
}

// look tells the sum of the children's progress now and then.
func look[T any](ctx context.Context, node *faena.Node, children []*faena.Future[T], over <-chan struct{}, tell func(float64)) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sum := 0.0
		for _, c := range children {
			in, err := node.Get(ctx, c.ID())
			switch {
			case err != nil: // nobody has the index: then without
			case in.State.Terminal():
				sum++
			case in.Progress != nil:
				sum += in.Progress.Done
			}
		}
		tell(sum)
	}
}
