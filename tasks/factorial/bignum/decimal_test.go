package bignum_test

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/faena-dev/faena/tasks/factorial/bignum"
)

func checkDecimal(t *testing.T, p *bignum.Pool, x *big.Int) {
	t.Helper()
	got, err := p.Decimal(t.Context(), x, bignum.Span{})
	if err != nil {
		t.Fatal(err)
	}
	if want := x.Text(10); string(got) != want {
		t.Errorf("Decimal of a number of %d bits = %.40q… (%d bytes), want %.40q… (%d bytes)", x.BitLen(), got, len(got), want, len(want))
	}
}

func TestDecimalAgainstText(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	p := bignum.NewPool(2)
	for range 300 {
		checkDecimal(t, p, number(r, r.IntN(3000)))
	}
	for range 15 {
		x := number(r, r.IntN(2_500_000))
		if r.IntN(2) == 0 {
			x.Neg(x)
		}
		checkDecimal(t, p, x)
	}
}

func TestDecimalAroundPowersOfTen(t *testing.T) {
	t.Parallel()
	p := bignum.NewPool(3)
	for _, e := range []int64{0, 1, 18, 19, 20, 19_999, 20_000, 20_001, 40_000, 80_001, 160_000, 350_003} {
		x := new(big.Int).Exp(big.NewInt(10), big.NewInt(e), nil)
		for _, d := range []int64{-1, 0, 1} {
			checkDecimal(t, p, new(big.Int).Add(x, big.NewInt(d)))
		}
		checkDecimal(t, p, new(big.Int).Mul(x, big.NewInt(123456789)))
	}
	for _, x := range []int64{0, 1, -1, 9, 10, -10} {
		checkDecimal(t, p, big.NewInt(x))
	}
}

func FuzzDecimal(f *testing.F) {
	f.Add([]byte{}, uint32(0), false)
	f.Add([]byte{1, 0, 0}, uint32(70_000), true)
	f.Add([]byte{255, 255}, uint32(140_001), false)
	f.Fuzz(func(t *testing.T, b []byte, shift uint32, negative bool) {
		x := new(big.Int).SetBytes(b)
		x.Lsh(x, uint(shift%400_000))
		if negative {
			x.Neg(x)
		}
		checkDecimal(t, bignum.NewPool(2), x)
		checkDecimal(t, bignum.NewPool(1), x.Sub(x, big.NewInt(1)))
	})
}

func BenchmarkDecimal(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, digits := range []int{35_660, 456_574, 5_565_709} {
		x := number(r, digits*3322/1000)
		b.Run(name("text", digits), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = x.Append(nil, 10)
			}
		})
		for _, workers := range []int{1, 2} {
			p := bignum.NewPool(workers)
			b.Run(name("pool", workers, digits), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := p.Decimal(b.Context(), x, bignum.Span{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
