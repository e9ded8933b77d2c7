package natsengine //nolint:testpackage // what it tests is not to be seen from outside

import (
	"context"
	"errors"
	"testing"
)

func TestAttemptContext(t *testing.T) {
	t.Parallel()
	cause := errors.New("why")
	type key struct{}
	slot := context.WithValue(t.Context(), key{}, "slot")
	tests := []struct {
		name string
		do   func(c *attemptContext, slot context.CancelCauseFunc)
		err  error
		want error // the cause
	}{
		{"under way", func(*attemptContext, context.CancelCauseFunc) {}, nil, nil},
		{"cancelled", func(c *attemptContext, _ context.CancelCauseFunc) { c.cancel(cause) }, context.Canceled, cause},
		{"closed", func(c *attemptContext, _ context.CancelCauseFunc) { c.close() }, context.Canceled, context.Canceled},
		{"cancelled and closed", func(c *attemptContext, _ context.CancelCauseFunc) { c.cancel(cause); c.close() }, context.Canceled, cause},
		{"closed and cancelled", func(c *attemptContext, _ context.CancelCauseFunc) { c.close(); c.cancel(cause) }, context.Canceled, context.Canceled},
		{"its slot's ended", func(_ *attemptContext, end context.CancelCauseFunc) { end(cause) }, context.Canceled, cause},
	}
	for _, tt := range tests {
		for _, asked := range []bool{false, true} {
			ctx, end := context.WithCancelCause(slot)
			c := &attemptContext{Context: ctx}
			child := context.Context(c)
			if asked {
				var stop context.CancelFunc
				child, stop = context.WithCancel(c)
				defer stop()
			}
			tt.do(c, end)
			if got := c.Err(); !errors.Is(got, tt.err) || (got == nil) != (tt.err == nil) {
				t.Errorf("%s (asked before: %v): Err = %v, want %v", tt.name, asked, got, tt.err)
			}
			if got := context.Cause(c); !errors.Is(got, tt.want) || (got == nil) != (tt.want == nil) {
				t.Errorf("%s (asked before: %v): cause = %v, want %v", tt.name, asked, got, tt.want)
			}
			if got := context.Cause(child); !errors.Is(got, tt.want) {
				t.Errorf("%s (asked before: %v): a child's cause = %v, want %v", tt.name, asked, got, tt.want)
			}
			select {
			case <-c.Done():
				if tt.err == nil {
					t.Errorf("%s (asked before: %v): Done is closed", tt.name, asked)
				}
			default:
				if tt.err != nil {
					t.Errorf("%s (asked before: %v): Done is open", tt.name, asked)
				}
			}
			if got := c.Value(key{}); got != "slot" {
				t.Errorf("%s (asked before: %v): Value = %v, want the slot's", tt.name, asked, got)
			}
			end(nil)
		}
	}
}
