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

var (
	// ErrNegative is the error for a negative n, which has no factorial.
	ErrNegative = errors.New("n is negative")
	// ErrTooLarge is the error for n above MaxN.
	ErrTooLarge = errors.New("n is too large")
	// ErrPart is the error for a Part or a plan's size that makes no sense.
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
// ErrTooLarge, ErrPart for k < 1, or ctx's.
func Plan(ctx context.Context, n int64, k int) ([]Part, error) {
	if err := checkN(n); err != nil {
		return nil, err
	}
	if k < 1 {
		return nil, fmt.Errorf("plan factorial of %d in %d parts: %w", n, k, ErrPart)
	}
	var total, factors uint64
	for p := range oddPrimes(ctx, 3, n) {
		e := uint64(exponent(n, p)) //nolint:gosec // an exponent is never negative
		total += e * weight(p)
		factors += e
	}
	k = int(min(uint64(k), factors)) //nolint:gosec // k is positive
	parts := make([]Part, 0, k)
	here, done := Factor{Prime: 3}, uint64(0) // done is the weight before here
	cut := func(at Factor, before uint64) {
		parts = append(parts, Part{N: n, From: here, To: at, Bits: int64((before - done) >> weightShift)}) //nolint:gosec // below 2^50
		here, done = at, before
	}
	var before uint64
	for p := range oddPrimes(ctx, 3, n) {
		e, w := exponent(n, p), weight(p)
		for len(parts) < k-1 {
			// The factor in which the next cut's share of the weight is reached is the
			// first of the next part; but no part is empty.
			goal := mulDiv(total, uint64(len(parts)+1), uint64(k)) //nolint:gosec // k is positive
			skip := int64((max(goal, before) - before) / w)        //nolint:gosec // at most total
			if here.Prime == p {
				skip = max(skip, here.Skip+1)
			}
			if skip >= e {
				break
			}
			cut(Factor{Prime: p, Skip: skip}, before+uint64(skip)*w) //nolint:gosec // skip is positive
		}
		before += uint64(e) * w //nolint:gosec // an exponent is never negative
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("plan factorial of %d: %w", n, err)
	}
	if factors > 0 {
		cut(Factor{Prime: n + 1}, total)
	}
	return parts, nil
}

// weightShift is how many bits of a weight are its fraction.
const weightShift = 6

// weight returns log2(p) in units of 2^-weightShift, rounded down, for p > 0. It
// uses no floating point: that may differ between machines in the last bit,
// and with it a plan.
func weight(p int64) uint64 {
	x := uint64(p) //nolint:gosec // p is positive
	length := bits.Len64(x)
	x <<= 64 - length
	w := uint64(length - 1) //nolint:gosec // p is positive
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

// mulDiv returns a·b/c for b ≤ c.
func mulDiv(a, b, c uint64) uint64 {
	if b == c {
		return a
	}
	hi, lo := bits.Mul64(a, b)
	q, _ := bits.Div64(hi, lo, c)
	return q
}
