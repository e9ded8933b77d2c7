package bignum

import (
	"context"
	"math/big"
)

// divWords is the length of divisor from which on the recursive division by
// Pool.Mul is faster than that of math/big. It has to leave Mul operands that
// are long enough for the three-way product.
const divWords = 2 * toomWords

// divide returns the quotient and the remainder of a and b, for 0 ≤ a < b·2^n
// and b of exactly n bits. It overwrites neither. n need not be even, but stops
// the recursion where it is not.
func (p *Pool) divide(ctx context.Context, a, b *big.Int, n uint, span Span) (q, r *big.Int, err error) {
	if n%2 != 0 || len(b.Bits()) < divWords {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		q, r = new(big.Int).QuoRem(a, b, new(big.Int))
		span.Done()
		return q, r, nil
	}
	half := n / 2
	q, r, err = p.divideHalf(ctx, new(big.Int).Rsh(a, half), b, half, span.Part(0.5))
	if err != nil {
		return nil, nil, err
	}
	low, r, err := p.divideHalf(ctx, r.Lsh(r, half).Add(r, lowBits(a, half)), b, half, span.Part(0.5))
	if err != nil {
		return nil, nil, err
	}
	return q.Lsh(q, half).Add(q, low), r, nil
}

// divideHalf returns the quotient and the remainder of a and b, for
// 0 ≤ a < b·2^half and b of exactly 2·half bits.
func (p *Pool) divideHalf(ctx context.Context, a, b *big.Int, half uint, span Span) (q, r *big.Int, err error) {
	high, low := new(big.Int).Rsh(b, half), lowBits(b, half)
	rest := new(big.Int).Rsh(a, half)
	if new(big.Int).Rsh(rest, half).Cmp(high) < 0 {
		q, r, err = p.divide(ctx, rest, high, half, span.Part(0.6))
		if err != nil {
			return nil, nil, err
		}
	} else {
		// The quotient would not fit: its largest value is at most two too large.
		q = new(big.Int).Lsh(big.NewInt(1), half)
		r = rest.Sub(rest, new(big.Int).Lsh(high, half))
		r.Add(r, high)
		q.Sub(q, big.NewInt(1))
		span.Part(0.6).Done()
	}
	product, err := p.Mul(ctx, q, low, span.Part(0.4))
	if err != nil {
		return nil, nil, err
	}
	r.Lsh(r, half).Add(r, lowBits(a, half))
	r.Sub(r, product)
	for r.Sign() < 0 {
		q.Sub(q, big.NewInt(1))
		r.Add(r, b)
	}
	return q, r, nil
}

// lowBits returns x mod 2^n for x ≥ 0, as a number of its own.
func lowBits(x *big.Int, n uint) *big.Int {
	words, size := x.Bits(), uint(wordBits)
	if n >= uint(len(words))*size {
		return new(big.Int).Set(x)
	}
	kept := make([]big.Word, (n+size-1)/size)
	copy(kept, words)
	if n%size != 0 {
		kept[len(kept)-1] &= 1<<(n%size) - 1
	}
	return new(big.Int).SetBits(kept)
}
