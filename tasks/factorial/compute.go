package factorial

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/bits"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/tasks/factorial/bignum"
	"github.com/faena-dev/faena/tasks/factorial/product"
	"github.com/faena-dev/faena/tasks/factorial/size"
)

// The steps' shares of the whole, as measured at 10^6 on two cores.
const (
	partShare    = 0.05
	combineShare = 0.29
	verifyShare  = 0.01
)

func (o Options) compute(ctx context.Context, in Input) (Output, error) {
	if err := o.Check(in); err != nil {
		return Output{}, faena.Permanent(err)
	}
	digits, err := size.Digits(in.N)
	if err != nil {
		return Output{}, faena.Permanent(err)
	}
	if in.Digits {
		return Output{N: in.N, Digits: digits}, nil
	}
	m := newMeter(func(done float64, text string) { faena.Progress(ctx, done, text) })
	x, odd, err := o.number(ctx, in.N, m)
	if err != nil {
		return Output{}, err
	}
	m.enter(verifyShare, "check the result")
	if err := product.Verify(ctx, in.N, x, o.options(1, m.report)); err != nil {
		return Output{}, hopeless(err)
	}
	m.enter(1-partShare-combineShare-verifyShare, "write it in base ten")
	text, err := o.text(ctx, in.N, x, odd, digits, m)
	if err != nil {
		return Output{}, fmt.Errorf("write factorial of %d in base ten: %w", in.N, err)
	}
	if int64(len(text)) != digits {
		return Output{}, faena.Permanent(fmt.Errorf("factorial of %d: %w: it has %d digits, want %d", in.N, product.ErrWrong, len(text), digits))
	}
	return Output{N: in.N, Digits: digits, Decimal: text}, nil
}

const (
	// partBits is about how long a part's product is, and mostParts how many there
	// are at most: by the first a part takes some milliseconds, by the second one
	// of 10^8 takes 0.3 to 0.9 s.
	partBits  = 1 << 19
	mostParts = 256
	// childBits is from which length on products are multiplied by children. Below,
	// storing a value takes longer than multiplying it.
	childBits = 1 << 22
)

// parts is how many parts a factorial is computed in: the same on all machines, or
// a run that goes on elsewhere would not find its children.
func parts(n int64) int { return int(min(length(n)/partBits, mostParts)) }

// length is about how many bits n! has.
func length(n int64) int64 {
	return n * int64(max(bits.Len64(uint64(n))-2, 0)) //nolint:gosec // n is not negative
}

// number computes n!, and names the run that gave it, without its factors 2, if it
// is so long that one did.
func (o Options) number(ctx context.Context, n int64, m *meter) (x *big.Int, odd faena.ID, err error) {
	k := parts(n)
	if k < 2 {
		m.enter(partShare+combineShare, "compute")
		x, err = product.Factorial(ctx, n, o.options(1, m.report))
		return x, odd, hopeless(err)
	}
	plan, err := product.Plan(ctx, n, k)
	if err != nil {
		return nil, odd, hopeless(err)
	}
	f, err := familyOf(ctx, m)
	if err != nil {
		return nil, odd, err
	}
	values, err := f.parts(ctx, plan)
	if err != nil {
		return nil, odd, fmt.Errorf("compute %d parts of the factorial of %d: %w", len(plan), n, err)
	}
	m.enter(combineShare, "multiply")
	if x, odd, err = o.combine(ctx, f, values, length(n) >= childBits); err != nil {
		return nil, odd, fmt.Errorf("multiply %d parts of the factorial of %d: %w", len(plan), n, err)
	}
	return product.Finish(n, x), odd, nil
}

func (o Options) combine(ctx context.Context, f family, values []*faena.Future[Value], apart bool) (x *big.Int, odd faena.ID, err error) {
	if apart {
		last, err := f.multiply(ctx, values)
		if err != nil {
			return nil, odd, err
		}
		v, err := last.Get(ctx)
		return v.number(), last.ID(), err
	}
	numbers := make([]*big.Int, len(values))
	for i, fut := range values {
		v, err := fut.Get(ctx)
		if err != nil {
			return nil, odd, err
		}
		numbers[i] = v.number()
	}
	x, err = product.Combine(ctx, numbers, o.options(1, f.meter.report))
	return x, odd, err
}

// text is x, which is n!, in base ten.
func (o Options) text(ctx context.Context, n int64, x *big.Int, odd faena.ID, digits int64, m *meter) (string, error) {
	if halvings, _ := pieces(digits); halvings == 0 {
		text, err := bignum.NewPool(o.Workers).Decimal(ctx, x, bignum.Track(m.report))
		return string(text), err
	}
	f, err := familyOf(ctx, m)
	if err != nil {
		return "", err
	}
	return f.write(ctx, n, odd, digits)
}

// options are those of one of so many computations beside each other.
func (o Options) options(beside int, report func(float64)) product.Options {
	workers := bignum.NewPool(o.Workers).Workers()
	return product.Options{Workers: (workers + beside - 1) / beside, Progress: report}
}

// hopeless marks the errors that no further attempt mends.
func hopeless(err error) error {
	for _, e := range []error{product.ErrNegative, product.ErrTooLarge, product.ErrPart, product.ErrWrong} {
		if errors.Is(err, e) {
			return faena.Permanent(err)
		}
	}
	return err
}
