package product

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"github.com/faena-dev/faena/tasks/factorial/bignum"
)

// modulus is the largest prime below 2^61-1. That one, a Mersenne prime, would not see
// a number shifted by 61 bits; this one has no such relation to the word.
const modulus = 1<<61 - 31

// ErrWrong is the error of Verify for a number that is not the factorial.
var ErrWrong = errors.New("not the factorial")

// Verify checks that x is n!: it multiplies the numbers up to n modulo a prime of
// 61 bits, without the primes and the large products that x was made of, and
// compares the remainders. A wrong x that was not made for the purpose passes with
// a probability of about 2^-61. The time is in proportion to n. The errors are
// ErrWrong and those of Plan.
func Verify(ctx context.Context, n int64, x *big.Int, opt Options) error {
	if err := checkN(n); err != nil {
		return err
	}
	span := bignum.Track(opt.Progress)
	want, err := factorialModulo(ctx, n, bignum.NewPool(opt.Workers), span)
	if err != nil {
		return fmt.Errorf("verify factorial of %d: %w", n, err)
	}
	if got := residue(x); x.Sign() <= 0 || got != want {
		return fmt.Errorf("verify factorial of %d: %w: remainder modulo %d is %d, want %d", n, ErrWrong, int64(modulus), got, want)
	}
	span.Finish()
	return nil
}

// stretch is how many numbers are multiplied between two looks at ctx.
const stretch = 1 << 16

func factorialModulo(ctx context.Context, n int64, pool *bignum.Pool, span bignum.Span) (uint64, error) {
	runs := int64(pool.Workers())
	results := make([]uint64, runs)
	err := pool.Each(ctx, int(runs), func(i int) error {
		z := uint64(1)
		// Each takes the stretches whose index is i modulo the number of runs.
		for low := int64(i)*stretch + 1; low <= n; low += runs * stretch {
			if err := ctx.Err(); err != nil {
				return err
			}
			high := min(low+stretch-1, n)
			for k := low; k <= high; k++ {
				z = mulModulo(z, uint64(k)) //nolint:gosec // k is positive
			}
			span.Part(float64(high-low+1) / float64(n)).Done()
		}
		results[i] = z
		return nil
	})
	if err != nil {
		return 0, err
	}
	z := uint64(1)
	for _, r := range results {
		z = mulModulo(z, r)
	}
	return z, nil
}

// residue returns the magnitude of x modulo modulus.
func residue(x *big.Int) uint64 {
	z := uint64(0)
	for _, word := range slices.Backward(x.Bits()) {
		// z·2^wordsize + word, of which the high word is below the modulus.
		hi, lo := bits.Mul64(z, 1<<(bits.UintSize-1))
		hi, lo = hi<<1|lo>>63, lo<<1
		z = bits.Rem64(hi, lo|uint64(word), modulus)
	}
	return z
}

func mulModulo(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return bits.Rem64(hi, lo, modulus)
}
