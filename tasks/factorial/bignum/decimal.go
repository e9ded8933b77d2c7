package bignum

import (
	"context"
	"math/big"
	"math/bits"
)

const (
	wordBits = bits.UintSize
	// leafDigits is the most digits that are converted by math/big at once: with
	// fewer the tree of divisions is slower than math/big's own.
	leafDigits = 20_000
)

// Decimal returns x in base ten, with a minus sign if x is negative, as x.Text(10)
// does. It checks ctx between steps of some milliseconds, and reports span; whoever
// tracks no more than this calls span.Finish. On one goroutine it is about as fast as
// Text, on two up to twice as fast.
func (p *Pool) Decimal(ctx context.Context, x *big.Int, span Span) ([]byte, error) {
	// log10(2) < 30103/100000, and never too few digits: one more for the floor.
	digits := int(int64(x.BitLen())*30103/100000) + 1
	depth := 0
	for digits>>depth > leafDigits {
		depth++
	}
	leaf := (digits + 1<<depth - 1) >> depth
	powers, err := p.powers(ctx, leaf, depth, span.Part(0.1))
	if err != nil {
		return nil, err
	}
	text := make([]byte, 1+leaf<<depth)
	err = p.fill(ctx, text[1:], new(big.Int).Abs(x), powers, span.Part(0.9))
	if err != nil {
		return nil, err
	}
	start := 1
	for start < len(text)-1 && text[start] == '0' {
		start++
	}
	if x.Sign() < 0 {
		start--
		text[start] = '-'
	}
	return text[start:], nil
}

// power is a power of ten, 10^digits = divisor/2^shift, where the divisor has as
// many bits as the recursive division likes: a multiple of the word, often halved.
type power struct {
	digits  int
	shift   uint
	divisor *big.Int
}

// powers returns 10^leaf, 10^(2·leaf), …, depth of them.
func (p *Pool) powers(ctx context.Context, leaf, depth int, span Span) ([]power, error) {
	powers := make([]power, depth)
	five := new(big.Int).Exp(big.NewInt(5), big.NewInt(int64(leaf)), nil)
	for i := range powers {
		if i > 0 {
			var err error
			// Each square takes about three times as long as the one before it.
			if five, err = p.Mul(ctx, five, five, span.Part(share(depth-1-i))); err != nil {
				return nil, err
			}
		}
		powers[i] = newPower(five, leaf<<i)
	}
	return powers, nil
}

// share returns the share of the step with that many steps to come, of a series in
// which each takes three times as long as the one before it.
func share(toCome int) float64 {
	s := 2.0 / 3
	for range toCome {
		s /= 3
	}
	return s
}

// newPower returns 10^digits, for five = 5^digits.
func newPower(five *big.Int, digits int) power {
	length, halvings := five.BitLen()+digits, 0
	for length>>halvings >= divWords*wordBits {
		halvings++
	}
	unit := wordBits << halvings
	shift := (unit - length%unit) % unit
	return power{digits: digits, shift: uint(shift), divisor: new(big.Int).Lsh(five, uint(digits+shift))}
}

// Split returns the quotient and the remainder of x and 10^digits, for five =
// 5^digits and 0 ≤ x < 10^(2·digits): the first step of Decimal, for those who
// divide the rest among several. It checks ctx and reports span as Decimal does.
func (p *Pool) Split(ctx context.Context, x, five *big.Int, digits int, span Span) (q, r *big.Int, err error) {
	return p.split(ctx, x, newPower(five, digits), span)
}

func (p *Pool) split(ctx context.Context, x *big.Int, by power, span Span) (q, r *big.Int, err error) {
	q, r, err = p.divide(ctx, new(big.Int).Lsh(x, by.shift), by.divisor, uint(by.divisor.BitLen()), span)
	if err != nil {
		return nil, nil, err
	}
	return q, r.Rsh(r, by.shift), nil
}

// fill writes x to text, with leading zeros. text is twice as long as the last
// of powers has digits, and x fits in.
func (p *Pool) fill(ctx context.Context, text []byte, x *big.Int, powers []power, span Span) error {
	if len(powers) == 0 || x.Sign() == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		digits := x.Append(make([]byte, 0, len(text)+1), 10)
		if x.Sign() == 0 {
			digits = nil
		}
		zeros := text[:len(text)-len(digits)]
		for i := range zeros {
			zeros[i] = '0'
		}
		copy(text[len(zeros):], digits)
		span.Done()
		return nil
	}
	power := powers[len(powers)-1]
	q, r, err := p.split(ctx, x, power, span.Part(1.0/3))
	if err != nil {
		return err
	}
	halves, cut := [2]*big.Int{q, r}, len(text)-power.digits
	return p.Each(ctx, 2, func(i int) error {
		part := text[:cut]
		if i == 1 {
			part = text[cut:]
		}
		half := halves[i]
		halves[i] = nil
		return p.fill(ctx, part, half, powers[:len(powers)-1], span.Part(1.0/3))
	})
}
