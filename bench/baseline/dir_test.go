package baseline_test

import (
	"os"
	"testing"
)

// dir returns a new folder on the disk to be measured, removed when b ends.
func dir(b *testing.B) string {
	b.Helper()
	top := os.Getenv("FAENA_BENCH_DIR")
	if top == "" {
		return b.TempDir()
	}
	d, err := os.MkdirTemp(top, "faena-bench-") //nolint:usetesting // the point is to choose the disk
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(d); err != nil {
			b.Error(err)
		}
	})
	return d
}
