package bignum

import (
	"context"
	"math/big"
)

// Divide is Pool.divide, for a divisor of any length and a dividend that is less
// than 2^(its length) times as large.
func Divide(ctx context.Context, p *Pool, a, b *big.Int) (q, r *big.Int, err error) {
	return p.divide(ctx, a, b, uint(b.BitLen()), Span{})
}
