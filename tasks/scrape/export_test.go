package scrape

import (
	"time"

	"github.com/faena-dev/faena"
)

// HandlersSaving are Handlers with checkpoints that often.
func HandlersSaving(every time.Duration) []faena.Handler {
	return Handlers(Options{saveEvery: every})
}

// BatchPages is how many pages a batch has at most.
const BatchPages = batchPages
