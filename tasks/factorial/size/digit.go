package size

import (
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/faena-dev/faena/tasks/factorial/product"
)

// errUndecided cannot be provoked: see Digits.
var errUndecided = errors.New("its logarithm is too close to an integer")

const (
	// exactBelow is where Stirling's series takes over. From there on its terms
	// shrink below 2^-maxPrecision·n! before they grow again.
	exactBelow = 200
	// errorBits bounds the error of fixed.logarithm, in bits from the right, for any
	// precision up to maxPrecision: its two series have fewer than 2^9 terms, each less
	// than two units wrong, and one of them is multiplied by less than 2^8.
	errorBits    = 20
	minPrecision = 64 // decides nearly always up to n = 10^10
	maxPrecision = 1024
)

// MaxN is the largest n whose factorial's digits are counted: soon after it their
// number would be none of int64.
const MaxN = 5e17

// Digits returns how many decimal digits n! has, exactly, in well under a
// millisecond. It takes Stirling's series, whose error is below the first term
// left out (NIST, Digital Library of Mathematical Functions, section 5.11), in integer
// arithmetic with a bound on all rounding. If that leaves two answers it starts
// again with twice the precision; n! is no power of ten for n > 1, so the bounds
// part in the end. The errors are product.ErrNegative, and product.ErrTooLarge above
// MaxN.
func Digits(n int64) (int64, error) {
	if n < 0 {
		return 0, fmt.Errorf("digits of the factorial of %d: %w", n, product.ErrNegative)
	}
	if n > MaxN {
		return 0, fmt.Errorf("digits of the factorial of %d: %w: the limit is %d", n, product.ErrTooLarge, int64(MaxN))
	}
	if n < exactBelow {
		return int64(len(new(big.Int).MulRange(1, n).String())), nil
	}
	for precision := uint(minPrecision); precision <= maxPrecision; precision *= 2 {
		low, high := log10Factorial(n, precision)
		if low.Cmp(high) != 0 {
			continue
		}
		digits := low.Add(low, big.NewInt(1))
		return digits.Int64(), nil
	}
	return 0, fmt.Errorf("digits of the factorial of %d: %w", n, errUndecided)
}

// log10Factorial returns the integer parts of two bounds of log10(n!).
func log10Factorial(n int64, precision uint) (low, high *big.Int) {
	f := fixed(precision)
	number := big.NewInt(n)
	ln := f.logarithm(f.integer(n))
	// n·ln n - n + ½ln n + ½ln 2π + the series.
	sum := new(big.Int).Mul(ln, number)
	sum.Sub(sum, f.integer(n))
	rest := f.logarithm(new(big.Int).Lsh(f.pi(), 1))
	sum.Add(sum, rest.Add(rest, ln).Rsh(rest, 1))
	sum.Add(sum, f.stirling(n))

	// The logarithm is multiplied by n; what else is wrong is less than another three
	// logarithms.
	wrong := new(big.Int).Lsh(number.Add(number, big.NewInt(3)), errorBits)
	ten := f.logarithm(f.integer(10))
	margin := new(big.Int).Lsh(big.NewInt(1), errorBits)
	low = new(big.Int).Sub(sum, wrong)
	low.Quo(low, new(big.Int).Add(ten, margin))
	high = new(big.Int).Add(sum, wrong)
	high.Quo(high, new(big.Int).Sub(ten, margin))
	return low, high
}

// fixed is arithmetic on integers that stand for multiples of 2^-fixed.
type fixed uint

func (f fixed) integer(n int64) *big.Int { return new(big.Int).Lsh(big.NewInt(n), uint(f)) }

func (f fixed) mul(x, y *big.Int) *big.Int {
	z := new(big.Int).Mul(x, y)
	return z.Rsh(z, uint(f))
}

func (f fixed) div(x, y *big.Int) *big.Int {
	z := new(big.Int).Lsh(x, uint(f))
	return z.Quo(z, y)
}

// odd returns x ± x³/3 + x⁵/5 ± …, for 0 ≤ x ≤ 1/3: the inverse tangent with
// alternating signs, otherwise that of the hyperbolic tangent.
func (f fixed) odd(x *big.Int, alternating bool) *big.Int {
	sum, power, square := new(big.Int), new(big.Int).Set(x), f.mul(x, x)
	for k := int64(1); power.Sign() > 0; k += 2 {
		term := new(big.Int).Quo(power, big.NewInt(k))
		if alternating && k%4 == 3 {
			term.Neg(term)
		}
		sum.Add(sum, term)
		power = f.mul(power, square)
	}
	return sum
}

// logarithm returns ln x, for x ≥ 1, with an error below 2^errorBits units.
func (f fixed) logarithm(x *big.Int) *big.Int {
	// x = m·2^e with 1 ≤ m < 2, and ln m = 2·artanh((m-1)/(m+1)).
	e := x.BitLen() - 1 - int(f)
	m, one := new(big.Int).Rsh(x, uint(e)), f.integer(1)
	ln := f.odd(f.div(new(big.Int).Sub(m, one), new(big.Int).Add(m, one)), false)
	two := f.odd(f.div(one, f.integer(3)), false)
	ln.Add(ln, two.Mul(two, big.NewInt(int64(e))))
	return ln.Lsh(ln, 1)
}

// pi returns π by Machin's formula.
func (f fixed) pi() *big.Int {
	five := f.odd(f.div(f.integer(1), f.integer(5)), true)
	z := five.Lsh(five, 2)
	z.Sub(z, f.odd(f.div(f.integer(1), f.integer(239)), true))
	return z.Lsh(z, 2)
}

// stirling returns the sum of B(2k)/(2k(2k-1)n^(2k-1)) for k = 1, 2, …, up to the
// first term that rounds to zero, which bounds the error of the series.
func (f fixed) stirling(n int64) *big.Int {
	sum, power, square := new(big.Int), big.NewInt(n), new(big.Int).Mul(big.NewInt(n), big.NewInt(n))
	b := []*big.Rat{big.NewRat(1, 1)}
	for k := int64(1); ; k++ {
		b = append(b, bernoulli(b))
		last := b[len(b)-1]
		down := new(big.Int).Mul(last.Denom(), power)
		down.Mul(down, big.NewInt(2*k*(2*k-1)))
		term := new(big.Int).Lsh(last.Num(), uint(f))
		term.Quo(term, down)
		if term.Sign() == 0 {
			return sum
		}
		sum.Add(sum, term)
		power.Mul(power, square)
	}
}

// bernoulli returns B(2k) for k = len(b), where b holds B(0), B(2), …, from the sum
// of binomial(2k+1, j)·B(j) over all j up to 2k, which is zero, with B(1) = -½.
func bernoulli(b []*big.Rat) *big.Rat {
	m := int64(2*len(b)) + 1
	sum := big.NewRat(-m, 2)
	for j, v := range b {
		c := new(big.Rat).SetInt(new(big.Int).Binomial(m, int64(2*j)))
		sum.Add(sum, c.Mul(c, v))
	}
	return sum.Mul(sum, big.NewRat(-1, m))
}

// bitLength returns about how many bits n! has.
func bitLength(n float64) float64 {
	ln, _ := math.Lgamma(n + 1)
	return ln / math.Ln2
}
