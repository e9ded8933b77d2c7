package engine_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/faena-dev/faena/engine"
)

func TestAfter(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_000_000)
	bad := &engine.Failure{Code: engine.CodeFailed, Message: "bad", Stack: "s"}
	three := engine.Retry{Attempts: 3}
	late := now.Add(time.Minute).UnixMilli()
	for name, c := range map[string]struct {
		run  engine.Run
		out  engine.Outcome
		want engine.Next
	}{
		"success":               {engine.Run{}, engine.Outcome{}, engine.Next{State: engine.Succeeded, Charged: true}},
		"success after the end": {engine.Run{Deadline: 1}, engine.Outcome{}, engine.Next{State: engine.Succeeded, Charged: true}},
		"first failure":         {engine.Run{Retry: three}, engine.Outcome{Failure: bad}, engine.Next{State: engine.Retrying, At: now, Failure: bad, Charged: true}},
		"last but one":          {engine.Run{Retry: three, Attempt: 1}, engine.Outcome{Failure: bad}, engine.Next{State: engine.Retrying, At: now, Failure: bad, Charged: true}},
		"last":                  {engine.Run{Retry: three, Attempt: 2}, engine.Outcome{Failure: bad}, engine.Next{State: engine.Failed, Failure: bad, Charged: true}},
		"no retry set":          {engine.Run{}, engine.Outcome{Failure: bad}, engine.Next{State: engine.Failed, Failure: bad, Charged: true}},
		"permanent":             {engine.Run{Retry: three}, engine.Outcome{Failure: bad, Permanent: true}, engine.Next{State: engine.Failed, Failure: bad, Charged: true}},
		"deadline": {
			engine.Run{Retry: three},
			engine.Outcome{Failure: &engine.Failure{Code: engine.CodeDeadline}},
			engine.Next{State: engine.Failed, Failure: &engine.Failure{Code: engine.CodeDeadline}, Charged: true},
		},
		"cancelled": {
			engine.Run{Retry: three},
			engine.Outcome{Failure: &engine.Failure{Code: engine.CodeCancelled}},
			engine.Next{State: engine.Cancelled, Failure: &engine.Failure{Code: engine.CodeCancelled}, Charged: true},
		},
		"interrupted": {engine.Run{Attempt: 9, Deadline: 1}, engine.Outcome{Interrupted: true, Failure: bad}, engine.Next{State: engine.Retrying, At: now}},
		"snooze":      {engine.Run{Attempt: 9}, engine.Outcome{Snooze: time.Hour}, engine.Next{State: engine.Retrying, At: now.Add(time.Hour)}},
		"snooze for ever": {
			engine.Run{}, engine.Outcome{Snooze: math.MaxInt64}, engine.Next{State: engine.Retrying, At: now.Add(100 * 365 * 24 * time.Hour)},
		},
		"snooze beyond the deadline": {
			engine.Run{Deadline: late},
			engine.Outcome{Snooze: time.Hour},
			engine.Next{State: engine.Failed, Failure: &engine.Failure{Code: engine.CodeDeadline, Message: "its next attempt would come after the run's deadline"}},
		},
		"snooze after the deadline": {
			engine.Run{Deadline: 1},
			engine.Outcome{Snooze: time.Hour},
			engine.Next{State: engine.Failed, Failure: &engine.Failure{Code: engine.CodeDeadline, Message: engine.ErrDeadline.Error()}},
		},
		"retry beyond the deadline": {
			engine.Run{Deadline: late, Retry: engine.Retry{Attempts: 3, Base: time.Hour}},
			engine.Outcome{Failure: bad},
			engine.Next{State: engine.Failed, Charged: true, Failure: &engine.Failure{
				Code: engine.CodeDeadline, Message: "its next attempt would come after the run's deadline; the last attempt failed: bad", Stack: "s",
			}},
		},
	} {
		if d := cmp.Diff(c.want, c.run.After(c.out, now)); d != "" {
			t.Errorf("%s: After (-want +got)\n%s", name, d)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_000_000)
	bad := engine.Outcome{Failure: &engine.Failure{Code: engine.CodeFailed}}
	for _, c := range []struct {
		attempt  uint16
		ceiling  time.Duration
		min, max time.Duration
	}{
		{0, 0, 900 * time.Millisecond, 1100 * time.Millisecond},
		{3, 0, 7200 * time.Millisecond, 8800 * time.Millisecond},
		{3, 5 * time.Second, 4500 * time.Millisecond, 5500 * time.Millisecond},
		{60_000, 0, 50 * 365 * 24 * time.Hour, math.MaxInt64},
		{60_000, time.Hour, 54 * time.Minute, 66 * time.Minute},
	} {
		r := engine.Run{Attempt: c.attempt, Retry: engine.Retry{Attempts: math.MaxUint16, Base: time.Second, Cap: c.ceiling}}
		waits := map[time.Duration]bool{}
		for range 50 {
			d := r.After(bad, now).At.Sub(now)
			waits[d] = true
			if d < c.min || d > c.max {
				t.Errorf("after attempt %d, cap %s: a wait of %s, want %s to %s", c.attempt+1, c.ceiling, d, c.min, c.max)
			}
		}
		if c.max < math.MaxInt64 && len(waits) < 10 {
			t.Errorf("after attempt %d, cap %s: %d different waits of 50, want them spread", c.attempt+1, c.ceiling, len(waits))
		}
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	for _, s := range engine.States() {
		if got, err := engine.ParseState(s.String()); got != s || err != nil {
			t.Errorf("ParseState(%q) = %v, %v, want %v", s, got, err, s)
		}
		if want := s == engine.Succeeded || s == engine.Failed || s == engine.Cancelled; s.Terminal() != want {
			t.Errorf("%s.Terminal() = %v, want %v", s, !want, want)
		}
	}
	const want = "want one of scheduled, queued, running, waiting, retrying, succeeded, failed, cancelled"
	if _, err := engine.ParseState("done"); engine.CodeOf(err) != engine.CodeInvalid || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("ParseState(done) = %v, want code invalid and %q", err, want)
	}
	if got := engine.State(99).String(); got != "state(99)" {
		t.Errorf("State(99) = %q", got)
	}
}
