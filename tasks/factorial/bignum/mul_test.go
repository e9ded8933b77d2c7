package bignum_test

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/faena-dev/faena/tasks/factorial/bignum"
)

// number returns a random number of that many bits, with long runs of ones and
// zeros, where carries go wrong.
func number(r *rand.Rand, bitLen int) *big.Int {
	words := make([]big.Word, bitLen/64+1)
	for i := range words {
		switch r.IntN(4) {
		case 0:
			words[i] = 0
		case 1:
			words[i] = ^big.Word(0)
		default:
			words[i] = big.Word(r.Uint64())
		}
	}
	x := new(big.Int).SetBits(words)
	return x.Rsh(x, uint(max(x.BitLen()-bitLen, 0)))
}

func TestMulAgainstMathBig(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, workers := range []int{1, 2, 7} {
		p := bignum.NewPool(workers)
		for range 20 {
			x := number(r, 1+r.IntN(900_000))
			y := number(r, 1+r.IntN(900_000))
			if r.IntN(2) == 0 {
				x.Neg(x)
			}
			if r.IntN(4) == 0 {
				y = x
			}
			got, err := p.Mul(t.Context(), x, y, bignum.Span{})
			if err != nil {
				t.Fatal(err)
			}
			if want := new(big.Int).Mul(x, y); got.Cmp(want) != 0 {
				t.Errorf("Mul of %d by %d bits with %d workers is wrong", x.BitLen(), y.BitLen(), workers)
			}
		}
	}
}

func BenchmarkMul(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, words := range []int{500, 800, 1000, 1200, 1600, 2000, 3000, 6000, 145_000} {
		x, y := number(r, words*64), number(r, words*64)
		b.Run(name("big", words), func(b *testing.B) {
			z := new(big.Int)
			for b.Loop() {
				z.Mul(x, y)
			}
		})
		for _, workers := range []int{1, 2} {
			p := bignum.NewPool(workers)
			b.Run(name("pool", workers, words), func(b *testing.B) {
				for b.Loop() {
					if _, err := p.Mul(b.Context(), x, y, bignum.Span{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
