// Package product computes n! exactly, in parts that know nothing of each other.
//
// [Plan] cuts the work into parts, which are small values that survive JSON;
// [Part.Product] computes one; [Combine] multiplies what they gave, all at once
// or, along the steps of [Tree], two at a time; [Finish] makes n! of it and
// [Verify] checks that against a computation of another kind.
//
// The method is the factorisation of n!: by A.-M. Legendre's formula (Essai sur
// la théorie des nombres, 1830) the prime p stands in it ⌊n/p⌋+⌊n/p²⌋+… times.
// The factors 2 are left out, they are a shift at the end. Powers are built for all
// primes together, a bit of the exponents at a time, as in P. B. Borwein, "On the
// complexity of calculating factorials", Journal of Algorithms 6, 1985; products
// are balanced trees, so that almost all the work lies in few large
// multiplications. Primes come from a segmented sieve of Eratosthenes (C. Bays and
// R. H. Hudson, BIT 17, 1977).
package product
