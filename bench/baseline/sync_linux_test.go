package baseline_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkSyncfs is the price of one commit of a lone caller in strict mode: a
// small append, then a sync of the whole file system. Only the sync is timed. It
// flushes what every other process wrote there too: keep the machine quiet.
func BenchmarkSyncfs(b *testing.B) {
	f, err := os.Create(filepath.Join(dir(b), "log"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	})
	msg := make([]byte, payload)
	var took []time.Duration
	for b.Loop() {
		if _, err := f.Write(msg); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := unix.Syncfs(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}
