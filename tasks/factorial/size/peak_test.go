package size_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/faena-dev/faena/tasks/factorial/bignum"
	"github.com/faena-dev/faena/tasks/factorial/product"
)

func printPeak(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return err
	}
	ctx := context.Background()
	x, err := product.Factorial(ctx, n, product.Options{})
	if err != nil {
		return err
	}
	if _, err = bignum.NewPool(0).Decimal(ctx, x, bignum.Span{}); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(os.Stdout, kib<<10)
	return err
}
