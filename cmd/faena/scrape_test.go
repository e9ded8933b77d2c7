package main_test

import (
	"strings"
	"testing"

	main "github.com/faena-dev/faena/cmd/faena"
	"github.com/faena-dev/faena/tasks/scrape"
	"github.com/faena-dev/faena/tasks/scrape/crawl"
)

// One request was "1 requests repeated".
func TestSummaryCountsOneRequest(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{1: ", 1 request repeated", 2: ", 2 requests repeated"} {
		if got := main.ScrapeSummary(&scrape.Summary{Summary: crawl.Summary{OK: 1, Retries: n}}); !strings.HasSuffix(got, want) {
			t.Errorf("summary = %q, want it to end with %q", got, want)
		}
	}
}
