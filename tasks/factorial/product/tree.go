package product

import (
	"context"
	"fmt"
	"math/big"
	"math/bits"

	"github.com/faena-dev/faena/tasks/factorial/bignum"
)

// Step is a product of two values in a tree. The values are numbered: first the
// ones that the tree starts from, then the results of its steps.
type Step struct {
	// Level is 0 for the steps that need no other, and otherwise one above the
	// higher level of the steps it needs. The steps of a level are independent.
	Level int `json:"level"`
	// Left and Right are the numbers of the values to multiply.
	Left  int `json:"left"`
	Right int `json:"right"`
	// Out is the number of the product.
	Out int `json:"out"`
}

// Tree returns the steps that multiply k values, of about the same length, to one:
// k-1 of them, in an order in which each finds what it needs, and the last one
// gives the product of all. There are none for k < 2.
func Tree(k int) []Step {
	if k < 2 {
		return nil
	}
	steps := make([]Step, 0, k-1)
	row := make([]int, k)
	for i := range row {
		row[i] = i
	}
	for level := 0; len(row) > 1; level++ {
		var next []int
		for i := 0; i+1 < len(row); i += 2 {
			out := k + len(steps)
			steps = append(steps, Step{Level: level, Left: row[i], Right: row[i+1], Out: out})
			next = append(next, out)
		}
		if len(row)%2 == 1 {
			next = append(next, row[len(row)-1])
		}
		row = next
	}
	return steps
}

// Combine returns the product of values, by the steps of Tree, those of a level
// beside each other; it is 1 if there are none. It sets the elements of values to
// nil when it no longer needs them, so that they need not be kept in memory. The
// error is ctx's.
func Combine(ctx context.Context, values []*big.Int, opt Options) (*big.Int, error) {
	span := bignum.Track(opt.Progress)
	z, err := calc{pool: bignum.NewPool(opt.Workers)}.combine(ctx, values, span)
	if err != nil {
		return nil, fmt.Errorf("combine %d products: %w", len(values), err)
	}
	span.Finish()
	return z, nil
}

func (c calc) combine(ctx context.Context, values []*big.Int, span bignum.Span) (*big.Int, error) {
	if len(values) == 0 {
		return big.NewInt(1), nil
	}
	steps := Tree(len(values))
	words := make([]float64, len(values)+len(steps))
	for i, v := range values {
		words[i] = float64(len(v.Bits()))
	}
	costs, total := make([]float64, len(steps)), 0.0
	for i, s := range steps {
		words[s.Out] = words[s.Left] + words[s.Right]
		costs[i] = mulCost(words[s.Left], words[s.Right])
		total += costs[i]
	}
	slots := make([]*big.Int, len(words))
	for i, v := range values {
		slots[i], values[i] = v, nil
	}
	for len(steps) > 0 {
		end := 0
		for end < len(steps) && steps[end].Level == steps[0].Level {
			end++
		}
		err := c.pool.Each(ctx, end, func(i int) (err error) {
			s := steps[i]
			slots[s.Out], err = c.pool.Mul(ctx, slots[s.Left], slots[s.Right], span.Part(costs[i]/max(total, 1)))
			slots[s.Left], slots[s.Right] = nil, nil
			return err
		})
		if err != nil {
			return nil, err
		}
		steps, costs = steps[end:], costs[end:]
	}
	return slots[len(slots)-1], nil
}

// Fives returns a part whose product is 5^k, for k > 0: the first k of the fives in
// (5k)!. It is for those who need powers of ten.
func Fives(k int64) Part {
	return Part{N: 5 * k, From: Factor{Prime: 5}, To: Factor{Prime: 5, Skip: k}, Bits: k * 2321 / 1000}
}

// Finish returns n! made of odd, the product of all parts of a plan for n: it
// adds the factors 2.
func Finish(n int64, odd *big.Int) *big.Int {
	return new(big.Int).Lsh(odd, uint(twos(n))) //nolint:gosec // twos are at most n
}

// twos returns how often 2 divides n!: n less the number of ones in n.
func twos(n int64) int64 {
	return n - int64(bits.OnesCount64(uint64(n))) //nolint:gosec // n is not negative
}

// Factorial returns n!, computed in this process in a plan of one part: what there
// is to split it splits inside. The errors are those of Plan.
func Factorial(ctx context.Context, n int64, opt Options) (*big.Int, error) {
	parts, err := Plan(ctx, n, 1)
	if err != nil {
		return nil, err
	}
	odd := big.NewInt(1)
	for _, p := range parts {
		if odd, err = p.Product(ctx, opt); err != nil {
			return nil, err
		}
	}
	return Finish(n, odd), nil
}
