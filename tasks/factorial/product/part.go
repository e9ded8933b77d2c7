package product

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"math/bits"

	"github.com/faena-dev/faena/tasks/factorial/bignum"
)

// Options are the settings of a computation.
type Options struct {
	// Workers is the most goroutines that compute at a time. Default
	// runtime.GOMAXPROCS.
	Workers int
	// Progress is called with the fraction of the work that is done, ascending, with
	// 1 at the end if there was no error, and never twice at the same moment. It
	// should be quick: the computation waits for it. Default none.
	Progress func(done float64)
}

// check returns ErrPart, wrapped, for a part that no plan contains.
func (p Part) check() error {
	if err := checkN(p.N); err != nil {
		return err
	}
	ordered := p.From.Prime < p.To.Prime || p.From.Prime == p.To.Prime && p.From.Skip < p.To.Skip
	if p.From.Prime < 3 || p.To.Prime > p.N+1 || p.From.Skip < 0 || p.To.Skip < 0 || !ordered {
		return fmt.Errorf("factors %+v to %+v of the factorial of %d: %w", p.From, p.To, p.N, ErrPart)
	}
	return nil
}

// Product computes the product of the part's factors. Parts need nothing of each
// other, and the result of one is the same wherever and however often it is
// computed. The errors are those of Plan.
func (p Part) Product(ctx context.Context, opt Options) (*big.Int, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	c := calc{pool: bignum.NewPool(opt.Workers)}
	span := bignum.Track(opt.Progress)
	z, err := c.part(ctx, p, span)
	if err != nil {
		return nil, fmt.Errorf("factors %+v to %+v of the factorial of %d: %w", p.From, p.To, p.N, err)
	}
	span.Finish()
	return z, nil
}

type calc struct {
	pool *bignum.Pool
}

func (c calc) part(ctx context.Context, p Part, span bignum.Span) (*big.Int, error) {
	lists := p.factors(ctx)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Upwards from the highest bit of the exponents: square what is there, and
	// multiply by the primes that have the next bit.
	trees, steps := make([]float64, len(lists)), make([]float64, len(lists))
	var total, words float64
	for i := len(lists) - 1; i >= 0; i-- {
		length := float64(len(lists[i]))
		trees[i] = treeCost(length)
		steps[i] = mulCost(words, words) + mulCost(2*words, length)
		words = 2*words + length
		total += trees[i] + steps[i]
	}
	products := make([]*big.Int, len(lists))
	err := c.pool.Each(ctx, len(lists), func(i int) (err error) {
		products[i], err = c.tree(ctx, lists[i], span.Part(trees[i]/total))
		lists[i] = nil
		return err
	})
	if err != nil {
		return nil, err
	}
	z := big.NewInt(1)
	for i := len(lists) - 1; i >= 0; i-- {
		step := span.Part(steps[i] / total)
		if z, err = c.pool.Mul(ctx, z, z, step.Part(0.5)); err != nil {
			return nil, err
		}
		if z, err = c.pool.Mul(ctx, z, products[i], step.Part(0.5)); err != nil {
			return nil, err
		}
		products[i] = nil
	}
	return z, nil
}

// factors returns, for each bit of the exponents, the primes that have it, as
// many in one word as go.
func (p Part) factors(ctx context.Context) [][]uint64 {
	var lists [][]uint64
	for prime := range oddPrimes(ctx, p.From.Prime, min(p.To.Prime, p.N)) {
		e := exponent(p.N, prime)
		if prime == p.To.Prime {
			e = min(e, p.To.Skip)
		}
		if prime == p.From.Prime {
			e -= min(e, p.From.Skip)
		}
		for i := 0; e>>i > 0; i++ {
			if len(lists) == i {
				lists = append(lists, []uint64{1})
			}
			if e>>i&1 == 0 {
				continue
			}
			last := &lists[i][len(lists[i])-1]
			hi, lo := bits.Mul64(*last, uint64(prime)) //nolint:gosec // primes are positive
			if hi == 0 {
				*last = lo
			} else {
				lists[i] = append(lists[i], uint64(prime)) //nolint:gosec // primes are positive
			}
		}
	}
	return lists
}

// leafWords is how many words are multiplied one after the other.
const leafWords = 32

// tree returns the product of the words.
func (c calc) tree(ctx context.Context, words []uint64, span bignum.Span) (*big.Int, error) {
	if len(words) <= leafWords {
		z, w := new(big.Int).SetUint64(words[0]), new(big.Int)
		for _, word := range words[1:] {
			z.Mul(z, w.SetUint64(word))
		}
		span.Done()
		return z, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	half, both := len(words)/2, [2]*big.Int{}
	below := treeCost(float64(len(words))/2) / treeCost(float64(len(words)))
	build := func(i int) (err error) {
		part := words[:half]
		if i == 1 {
			part = words[half:]
		}
		both[i], err = c.tree(ctx, part, span.Part(below))
		return err
	}
	if err := c.fork(ctx, len(words), build); err != nil {
		return nil, err
	}
	return c.pool.Mul(ctx, both[0], both[1], span.Part(1-2*below))
}

// forkWords is the length below which a goroutine costs more than it brings.
const forkWords = 512

func (c calc) fork(ctx context.Context, words int, f func(int) error) error {
	if words >= forkWords {
		return c.pool.Each(ctx, 2, f)
	}
	if err := f(0); err != nil {
		return err
	}
	return f(1)
}

// mulCost is about proportional to the time of a product of numbers with that many
// words.
func mulCost(a, b float64) float64 {
	a, b = max(a, b), min(a, b)
	if b < 1 {
		return 0
	}
	return a / b * math.Pow(b, 1.5)
}

// treeCost is about proportional to the time of calc.tree for that many words: on
// each level there are twice as many products, of half the length.
func treeCost(words float64) float64 {
	cost := leafWords * words
	for size, count := words/2, 1.0; size > leafWords/2; size, count = size/2, count*2 {
		cost += count * mulCost(size, size)
	}
	return cost
}
