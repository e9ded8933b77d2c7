package faena

import (
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/faena-dev/faena/engine"
)

// Bounds of what options take.
const (
	maxTags     = 32
	maxTagKey   = 64
	maxTagValue = 256
	maxNamed    = 256
)

// Option is one setting of a task's runs: given to [Define] it is the task's
// default, given to a call it overrides that. Of two that say the same thing
// the later counts. A wrong value panics in Define and makes a call fail with
// CodeInvalid. The package comment lists the defaults.
type Option struct{ set func(*settings) error }

// settings are what options have set.
type settings struct {
	queue         string
	retry         engine.Retry
	timeout       time.Duration
	deadline      time.Time
	expire        time.Duration
	at            time.Time
	in            time.Duration
	tags          []Tag
	keep          [2]uint32
	named         string
	window        int
	detached      bool
	waitForWorker bool
}

func defaults() settings {
	return settings{
		retry:   engine.Retry{Attempts: 5, Base: time.Second, Cap: time.Hour},
		timeout: time.Hour,
		keep:    [2]uint32{24 * 3600, 30 * 24 * 3600},
		window:  64,
	}
}

// DefaultQueue is the queue of tasks that name none.
const DefaultQueue = "default"

// with gives the settings with opts applied to a copy.
func (s settings) with(op string, opts []Option) (settings, error) {
	for _, o := range opts {
		if o.set == nil {
			return s, invalid(op, "an option is its zero value")
		}
		if err := o.set(&s); err != nil {
			return s, &Error{Code: CodeInvalid, Op: op, Err: err}
		}
	}
	return s, nil
}

// Queue names the queue that runs wait in: letters, digits and -_. , at most 64.
func Queue(name string) Option {
	return Option{func(s *settings) error {
		s.queue = name
		return engine.CheckName("queue", name)
	}}
}

// Retry sets how many attempts a run has in all, at least 1, and how long it
// waits before the second; each further wait is twice the one before, up to
// RetryCap, with a tenth added or taken by chance.
func Retry(attempts int, base time.Duration) Option {
	return Option{func(s *settings) error {
		if attempts < 1 || attempts > math.MaxUint16 {
			return invalid("", "Retry(%d, %s): want 1 to %d attempts", attempts, base, math.MaxUint16)
		}
		if base < 0 {
			return invalid("", "Retry(%d, %s): the wait is negative", attempts, base)
		}
		s.retry.Attempts, s.retry.Base = uint16(attempts), base
		return nil
	}}
}

// RetryCap sets the longest wait between two attempts; 0 sets no bound.
func RetryCap(d time.Duration) Option {
	return Option{func(s *settings) error {
		s.retry.Cap = d
		return notNegative("RetryCap", d)
	}}
}

// Timeout bounds each attempt, waits for other runs included: when it has
// passed the attempt's context ends with [ErrTimeout]. An error that the handler
// returns after that is a failed attempt with CodeTimeout; a result counts, since
// the work is done. If it has not returned 10 s later the attempt has failed
// without it, and what it returns counts for nothing. 0 sets no bound.
func Timeout(d time.Duration) Option {
	return Option{func(s *settings) error {
		s.timeout = d
		return notNegative("Timeout", d)
	}}
}

// Deadline is when a run that has not ended fails with CodeDeadline, whatever
// it waits for; an attempt under way has its context ended with [ErrDeadline].
// The run then fails when the handler returns, whatever that returns, and after
// 10 s without it. A run fails at once if its next attempt would come after the
// deadline. The zero time sets none; one beyond the year 9999 is refused.
func Deadline(t time.Time) Option {
	return Option{func(s *settings) error {
		s.deadline, s.expire = t, 0
		return notAbsurd("Deadline", t)
	}}
}

// ExpireIn is a Deadline that far after the run is submitted; 0 sets none.
func ExpireIn(d time.Duration) Option {
	return Option{func(s *settings) error {
		s.deadline, s.expire = time.Time{}, d
		return notNegative("ExpireIn", d)
	}}
}

// In delays the run's first attempt by d from when it is submitted.
func In(d time.Duration) Option {
	return Option{func(s *settings) error {
		s.at, s.in = time.Time{}, d
		return notNegative("In", d)
	}}
}

// At delays the run's first attempt until t; a t that has passed is at once, and
// one more than 100 years away is refused.
func At(t time.Time) Option {
	return Option{func(s *settings) error {
		s.at, s.in = t, 0
		return notAbsurd("At", t)
	}}
}

// Tags adds tags, given as key, value, key, value: pairs that runs are filtered
// by. A key that is there already gets the new value. A run has at most 32, of
// keys up to 64 bytes and values up to 256, both in UTF-8, and keys without control
// characters.
func Tags(pairs ...string) Option {
	return Option{func(s *settings) error {
		if len(pairs)%2 != 0 {
			return invalid("", "Tags(%q): want pairs of key and value", pairs)
		}
		tags := slices.Clone(s.tags) // the definition's are shared
		for p := range slices.Chunk(pairs, 2) {
			if p[0] == "" || len(p[0]) > maxTagKey || len(p[1]) > maxTagValue {
				return invalid("", "tag %q=%q: want a key of 1 to %d bytes and a value of at most %d", p[0], p[1], maxTagKey, maxTagValue)
			}
			if !utf8.ValidString(p[0]) || !utf8.ValidString(p[1]) {
				return invalid("", "tag %q=%q: it is not UTF-8", p[0], p[1])
			}
			if strings.ContainsFunc(p[0], unicode.IsControl) {
				return invalid("", "tag %q=%q: its key has a control character", p[0], p[1])
			}
			if i := slices.IndexFunc(tags, func(t Tag) bool { return t.Key == p[0] }); i >= 0 {
				tags[i].Value = p[1]
				continue
			}
			tags = append(tags, Tag{Key: p[0], Value: p[1]})
		}
		if len(tags) > maxTags {
			return invalid("", "%d tags are too many: want at most %d", len(tags), maxTags)
		}
		s.tags = tags
		return nil
	}}
}

// Keep sets how long a run can be read after its end: for one that succeeded or
// was cancelled, and for one that failed. Times are rounded up to seconds.
func Keep(succeeded, failed time.Duration) Option {
	return Option{func(s *settings) error {
		for i, d := range []time.Duration{succeeded, failed} {
			secs := (d + time.Second - 1) / time.Second
			if d < 0 || secs > math.MaxUint32 {
				return invalid("", "Keep(%s, %s): want 0 to 136 years", succeeded, failed)
			}
			s.keep[i] = uint32(secs)
		}
		return nil
	}}
}

// Named gives a child an explicit name among its parent's children, instead of
// telling it by its task and input: for a parent whose inputs differ from one
// attempt to the next by accident only. The same name with another task or
// input is an error with CodeConflict, where the earlier input is still known.
// It is for a call of one run inside a handler, not for a definition.
func Named(name string) Option {
	return Option{func(s *settings) error {
		if name == "" || len(name) > maxNamed {
			return invalid("", "Named(%q): want 1 to %d bytes", name, maxNamed)
		}
		s.named = name
		return nil
	}}
}

// Detached lets a child go on when its parent is cancelled.
func Detached() Option {
	return Option{func(s *settings) error {
		s.detached = true
		return nil
	}}
}

// Window bounds how many runs of one Map are under way at a time.
func Window(n int) Option {
	return Option{func(s *settings) error {
		if n < 1 {
			return invalid("", "Window(%d): want at least 1", n)
		}
		s.window = n
		return nil
	}}
}

// WaitForWorker lets [Node.Submit] store a run whose task no live worker knows;
// the run waits until one does.
func WaitForWorker() Option {
	return Option{func(s *settings) error {
		s.waitForWorker = true
		return nil
	}}
}

func notNegative(what string, d time.Duration) error {
	if d < 0 {
		return invalid("", "%s(%s): want no negative time", what, d)
	}
	return nil
}

// notAbsurd refuses times that JSON has no form for, and milliseconds no room.
func notAbsurd(what string, t time.Time) error {
	if !t.Before(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) {
		return invalid("", "%s(%s): want a time before the year 10000", what, t)
	}
	return nil
}
