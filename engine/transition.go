package engine

import (
	"math"
	"math/rand/v2"
	"time"
)

// MaxDeaths is after how many recorded deaths of workers a run fails, unless its
// worker says otherwise: without a
// bound a handler that exhausts memory would kill one worker after the other.
const MaxDeaths = 3

// Next is what follows an attempt: a terminal state, or another attempt at At.
type Next struct {
	State   State // Succeeded, Failed, Cancelled, or Retrying
	At      time.Time
	Failure *Failure
	Charged bool // the attempt counts
}

// After decides what follows an attempt that ended at now with outcome o. The
// wait before the second attempt is Retry.Base, doubled for each further one up
// to Retry.Cap, with up to a tenth of it added or taken by chance.
func (r *Run) After(o Outcome, now time.Time) Next {
	switch {
	case o.Interrupted:
		return Next{State: Retrying, At: now}
	case o.Snooze > 0 && o.Failure == nil:
		at := now.Add(min(o.Snooze, maxWait))
		if r.late(at) {
			return Next{State: Failed, Failure: r.tooLate(nil, now)}
		}
		return Next{State: Retrying, At: at}
	case o.Failure == nil:
		return Next{State: Succeeded, Charged: true}
	case o.Failure.Code == CodeCancelled:
		return Next{State: Cancelled, Failure: o.Failure, Charged: true}
	case o.Permanent, o.Failure.Code == CodeDeadline, r.Attempt+1 >= max(r.Retry.Attempts, 1):
		return Next{State: Failed, Failure: o.Failure, Charged: true}
	}
	at := now.Add(min(r.backoff(), maxWait))
	if r.late(at) {
		return Next{State: Failed, Failure: r.tooLate(o.Failure, now), Charged: true}
	}
	return Next{State: Retrying, At: at, Failure: o.Failure, Charged: true}
}

// maxWait bounds the wait before another attempt: what stores it counts nanoseconds
// in 64 bits.
const maxWait = 100 * 365 * 24 * time.Hour

func (r *Run) late(at time.Time) bool { return r.Deadline != 0 && at.UnixMilli() >= r.Deadline }

// tooLate is why no attempt follows one that ended at now.
func (r *Run) tooLate(last *Failure, now time.Time) *Failure {
	f := &Failure{Code: CodeDeadline, Message: "its next attempt would come after the run's deadline"}
	if r.late(now) {
		f.Message = ErrDeadline.Error()
	}
	if last != nil {
		f.Message += "; the last attempt failed: " + last.Message
		f.Stack = last.Stack
	}
	return f
}

// backoff is the wait after attempt number Attempt+1.
func (r *Run) backoff() time.Duration {
	d := float64(r.Retry.Base) * math.Exp2(float64(r.Attempt))
	if r.Retry.Cap > 0 {
		d = min(d, float64(r.Retry.Cap))
	}
	d *= 0.9 + 0.2*rand.Float64() //nolint:gosec // spreads retries, hides nothing
	return time.Duration(min(d, float64(math.MaxInt64/4)))
}
