package product

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
)

// MaxN is the largest n that this package takes. Its factorial has 13·10¹²
// digits: memory ends long before.
const MaxN = 1 << 40

// MaxParts is the most parts that a plan has.
const MaxParts = 1 << 20

var (
	// ErrNegative is the error for a negative n, which has no factorial.
	ErrNegative = errors.New("n is negative")
	// ErrTooLarge is the error for n above MaxN.
	ErrTooLarge = errors.New("n is too large")
	// ErrPart is the error for a Part, or a number of parts, that makes no sense.
	ErrPart = errors.New("invalid part")
)

// Part describes a share of the work on n!. Imagine the odd prime factors of n! in
// a row, ascending, each as often as it divides n!: a part is a stretch of the row.
type Part struct {
	// N is the number whose factorial is computed.
	N int64 `json:"n"`
	// From is the first factor.
	From Factor `json:"from"`
	// To is the first factor that is no longer in the part. Its prime is above N
	// where the row ends.
	To Factor `json:"to"`
	// Bits is about the length of the part's product, a measure of the work.
	Bits int64 `json:"bits"`
}

// Factor is a place in the row of a number's odd prime factors: the one of
// Prime's copies before which Skip other copies of it stand.
type Factor struct {
	Prime int64 `json:"prime"`
	Skip  int64 `json:"skip"`
}

func checkN(n int64) error {
	switch {
	case n < 0:
		return fmt.Errorf("factorial of %d: %w", n, ErrNegative)
	case n > MaxN:
		return fmt.Errorf("factorial of %d: %w: the limit is %d", n, ErrTooLarge, int64(MaxN))
	}
	return nil
}

// Plan cuts the work on n! into k parts whose products are about equally long. It
// makes fewer where n! has less than k odd prime factors, none for n < 3. It is
// a function of n and k alone, on every machine. Its time grows with n, a few
// seconds at 10⁹, and the memory with √n. The errors are ErrNegative,
// ErrTooLarge, ErrPart for k < 1 or above MaxParts, or ctx's.
func Plan(ctx context.Context, n int64, k int) ([]Part, error) {
	if err := checkN(n); err != nil {
		return nil, err
	}
	if k < 1 || k > MaxParts {
		return nil, fmt.Errorf("plan factorial of %d in %d parts: %w: 1 to %d go", n, k, ErrPart, MaxParts)
	}
	var total, factors int64
	for p := range oddPrimes(ctx, 3, n) {
		e := exponent(n, p)
		total += e * weight(p)
		factors += e
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("plan factorial of %d: %w", n, err)
	}
	if factors == 0 {
		return nil, nil
	}
	count := min(int64(k), factors)
	parts := make([]Part, 0, count)
	here, done := Factor{Prime: 3}, int64(0) // done is the weight before here
	cut := func(at Factor, before int64) {
		parts = append(parts, Part{N: n, From: here, To: at, Bits: (before - done) >> weightShift})
		here, done = at, before
	}
	before := int64(0)
	for p := range oddPrimes(ctx, 3, n) {
		e, w := exponent(n, p), weight(p)
		for i := int64(len(parts)) + 1; i < count; i++ {
			// The factor that completes its share of the weight begins the next part;
			// but no part is empty.
			goal := total/count*i + total%count*i/count
			skip := max(goal-before, 0) / w
			if here.Prime == p {
				skip = max(skip, here.Skip+1)
			}
			if skip >= e {
				break
			}
			cut(Factor{Prime: p, Skip: skip}, before+skip*w)
		}
		before += e * w
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("plan factorial of %d: %w", n, err)
	}
	cut(Factor{Prime: n + 1}, total)
	return parts, nil
}

// weightShift is how many bits of a weight are its fraction.
const weightShift = 6

// weight returns log2(p) in units of 2^-weightShift, rounded down, for p > 0. It
// uses no floating point: that may differ between machines in the last bit,
// and with it a plan.
func weight(p int64) int64 {
	x := uint64(p) //nolint:gosec // p is positive
	length := bits.Len64(x)
	x <<= 64 - length
	w := int64(length - 1)
	for range weightShift {
		w <<= 1
		hi, lo := bits.Mul64(x, x)
		if hi>>63 == 1 {
			w |= 1
			x = hi
		} else {
			x = hi<<1 | lo>>63
		}
	}
	return w
}
