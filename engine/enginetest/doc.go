// Package enginetest tests engines: a suite that every one has to pass, on fake
// time where it can be, and a wrapper that fails or kills an engine at its nth
// write. What a test believes it has seen itself: handlers and clients write a
// ledger, and the engine is judged by that.
package enginetest

import (
	"context"
	"testing"

	"github.com/faena-dev/faena/engine"
)

// Setup says how to open the engines under test.
type Setup struct {
	// Bubble runs fn on fake time. Nil means that time is real: cases that take
	// long are then left out.
	Bubble func(t *testing.T, fn func(t *testing.T))
	// Open opens the engine that owns a data directory.
	Open func(ctx context.Context, o Options) (engine.Engine, error)
	// Join opens the engine of another process, as it were, that works with an
	// owner. Nil means that there can be none: cases that need one are left out.
	Join func(ctx context.Context, owner engine.Engine, hook engine.WriteHook) (engine.Engine, error)
	// Index is where an engine keeps its index for a data directory, which it must
	// be able to do without. Nil means that it keeps none.
	Index func(dir string) string
	// Apart makes clients and workers join instead of using the owner's engine;
	// it needs Join.
	Apart bool
}

// Options of an engine under test.
type Options struct {
	Dir  string
	Hook engine.WriteHook // around each write; may be nil
	Boot string           // of the machine; another one says that it went down in between
	Sync func() error     // makes what was written durable; may be nil
}
