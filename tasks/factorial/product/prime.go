package product

import (
	"context"
	"iter"
	"math"
)

// segment is how many odd numbers are sieved at once: few enough for the cache.
const segment = 1 << 16

// oddPrimes yields the odd primes p with from ≤ p ≤ to, ascending, and stops
// early when ctx ends. It needs memory for the primes up to √to only.
func oddPrimes(ctx context.Context, from, to int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		from = max(from|1, 3)
		if from > to {
			return
		}
		base := smallPrimes(root(to))
		composite := make([]bool, min(segment, (to-from)/2+1))
		for low := from; low <= to && ctx.Err() == nil; low += 2 * segment {
			high := min(low+2*segment-1, to)
			sieve(composite, base, low, high)
			for p := low; p <= high; p += 2 {
				if !composite[(p-low)/2] && !yield(p) {
					return
				}
			}
		}
	}
}

// sieve marks the composite ones among the odd numbers from low, an odd one, to high.
func sieve(composite []bool, base []int64, low, high int64) {
	clear(composite)
	for _, p := range base {
		if p*p > high {
			return
		}
		// The first odd multiple of p that is in range and not below p².
		first := max(p*p, (low+p-1)/p*p)
		if first%2 == 0 {
			first += p
		}
		for i := (first - low) / 2; i <= (high-low)/2; i += p {
			composite[i] = true
		}
	}
}

// smallPrimes returns the odd primes up to limit.
func smallPrimes(limit int64) []int64 {
	composite := make([]bool, limit/2+1)
	var primes []int64
	for p := int64(3); p <= limit; p += 2 {
		if composite[p/2] {
			continue
		}
		primes = append(primes, p)
		for m := p * p; m <= limit; m += 2 * p {
			composite[m/2] = true
		}
	}
	return primes
}

// root returns ⌊√n⌋ for 0 ≤ n ≤ MaxN.
func root(n int64) int64 {
	r := int64(math.Sqrt(float64(n)))
	for r*r > n {
		r--
	}
	for (r+1)*(r+1) <= n {
		r++
	}
	return r
}

// exponent returns how often the prime p stands in n!.
func exponent(n, p int64) int64 {
	e := int64(0)
	for n >= p {
		n /= p
		e += n
	}
	return e
}
