package embedded_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/faena-dev/faena/engine"
	"github.com/faena-dev/faena/engine/embedded"
	ix "github.com/faena-dev/faena/internal/index"
)

// Ends that an index which is built anew reads are from before: they counted as new.
func TestFinishedCountsNoEndsFromBefore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	bubble(t, func(t *testing.T) {
		for n, want := range []int64{1, 0} {
			e, err := embedded.Open(t.Context(), embedded.Options{Dir: dir, Sync: func() error { return nil }})
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				r := runOf(3600)
				end := ending(e, r.ID)
				w := handling(t, e, func(context.Context, *engine.Attempt) engine.Outcome { return engine.Outcome{Output: []byte("1")} })
				submit(t, e, r)
				<-end
				_ = w.Stop(t.Context())
			}
			c, err := e.Counts(t.Context())
			if err != nil || len(c) != 1 || c[0].N != 1 || c[0].Finished != want {
				t.Errorf("Counts = %+v, %v, want one run, and %d finished", c, err, want)
			}
			e.Close() //nolint:errcheck // it is opened again
			if err := ix.Remove(filepath.Join(dir, "index.db")); err != nil {
				t.Fatal(err)
			}
		}
	})
}
