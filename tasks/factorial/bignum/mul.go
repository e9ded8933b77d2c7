package bignum

import (
	"context"
	"math/big"
	"math/bits"
)

// toomWords is the length from which on the three-way product is faster than
// that of math/big.
const toomWords = 1500

// Mul returns x·y. It checks ctx about once in a millisecond, and reports span.
func (p *Pool) Mul(ctx context.Context, x, y *big.Int, span Span) (*big.Int, error) {
	if len(x.Bits()) < len(y.Bits()) {
		x, y = y, x
	}
	n, m := len(x.Bits()), len(y.Bits())
	switch {
	case m < toomWords:
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		z := new(big.Int).Mul(x, y)
		span.Done()
		return z, nil
	case 3*m <= 2*n:
		return p.mulPieces(ctx, x, y, span)
	default:
		return p.mulToom(ctx, x, y, span)
	}
}

// mulPieces cuts x, the longer one, into pieces of about y's length.
func (p *Pool) mulPieces(ctx context.Context, x, y *big.Int, span Span) (*big.Int, error) {
	words := x.Bits()
	count := (len(words) + len(y.Bits()) - 1) / len(y.Bits())
	size := (len(words) + count - 1) / count
	parts, magnitude := make([]*big.Int, count), new(big.Int).Abs(y)
	err := p.Each(ctx, count, func(i int) (err error) {
		parts[i], err = p.Mul(ctx, slice(words, i*size, (i+1)*size), magnitude, span.Part(1/float64(count)))
		return err
	})
	if err != nil {
		return nil, err
	}
	z := make([]big.Word, len(words)+len(y.Bits())+1)
	for i, part := range parts {
		addAt(z, part, i*size)
	}
	return signed(z, x.Sign()*y.Sign()), nil
}

// points holds a number's three pieces as a polynomial, evaluated at 0, 1, -1,
// -2 and infinity.
type points [5]*big.Int

func evaluate(words []big.Word, size int) points {
	low, mid, high := slice(words, 0, size), slice(words, size, 2*size), slice(words, 2*size, 3*size)
	sum := new(big.Int).Add(low, high)
	one := new(big.Int).Add(sum, mid)
	minusOne := sum.Sub(sum, mid)
	minusTwo := new(big.Int).Add(minusOne, high)
	minusTwo.Lsh(minusTwo, 1)
	minusTwo.Sub(minusTwo, low)
	return points{low, one, minusOne, minusTwo, high}
}

func (p *Pool) mulToom(ctx context.Context, x, y *big.Int, span Span) (*big.Int, error) {
	size := (len(x.Bits()) + 2) / 3
	xs := evaluate(x.Bits(), size)
	ys := xs // a square stays one all the way down, where math/big does it faster
	if x != y {
		ys = evaluate(y.Bits(), size)
	}
	var zs points
	err := p.Each(ctx, len(zs), func(i int) (err error) {
		zs[i], err = p.Mul(ctx, xs[i], ys[i], span.Part(1.0/5))
		return err
	})
	if err != nil {
		return nil, err
	}
	z := make([]big.Word, len(x.Bits())+len(y.Bits())+1)
	interpolate(z, zs, size)
	return signed(z, x.Sign()*y.Sign()), nil
}

// interpolate adds up in z the polynomial with the given values at the points
// above, taken at 2^(size words). It overwrites the values.
func interpolate(z []big.Word, zs points, size int) {
	c0, c1, c2, c3, c4 := zs[0], zs[1], zs[2], zs[3], zs[4]
	c3.Sub(c3, c1)
	c3.Quo(c3, big.NewInt(3)) // exact, as are the halvings
	c1.Sub(c1, c2)
	c1.Rsh(c1, 1)
	c2.Sub(c2, c0)
	c3.Sub(c2, c3)
	c3.Rsh(c3, 1)
	c3.Add(c3, new(big.Int).Lsh(c4, 1))
	c2.Add(c2, c1)
	c2.Sub(c2, c4)
	c1.Sub(c1, c3)

	for i, c := range zs {
		addAt(z, c, i*size)
	}
}

// addAt adds x's magnitude to z, from z's word at on. The sum must fit.
func addAt(z []big.Word, x *big.Int, at int) {
	words := x.Bits()
	if len(words) == 0 {
		return
	}
	z = z[at:]
	var carry uint
	for i, w := range words {
		sum, c := bits.Add(uint(z[i]), uint(w), carry)
		z[i], carry = big.Word(sum), c
	}
	for i := len(words); carry != 0; i++ {
		sum, c := bits.Add(uint(z[i]), 0, carry)
		z[i], carry = big.Word(sum), c
	}
}

// signed makes a number of the words, which it keeps.
func signed(words []big.Word, sign int) *big.Int {
	z := new(big.Int).SetBits(words)
	if sign < 0 {
		z.Neg(z)
	}
	return z
}

// slice returns words[from:to] as a number that shares their memory; to may lie
// beyond the end. Whoever gets it must not change it.
func slice(words []big.Word, from, to int) *big.Int {
	from, to = min(from, len(words)), min(to, len(words))
	return new(big.Int).SetBits(words[from:to:to])
}
