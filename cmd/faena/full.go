package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/faena-dev/faena/internal/remedy"
)

// A disk is full for a direct command when it has fewer than fullBelow bytes, where
// the engine's server may have failed a write; that must have lasted for fullLooks
// looks, one each fullEvery.
const (
	fullBelow = 4 << 20
	fullEvery = time.Second
	fullLooks = 4
)

// isFull tells whether there is no room for results in a directory.
func (d *direct) isFull(dir string) bool {
	if d.full != nil {
		return d.full()
	}
	return remedy.Room(dir, fullBelow) != nil
}

// whileRoom is ctx until the disk of a directory is full: nothing ends then, what
// is under way included, and a person can do something about it. The channel is
// closed at that time.
func (d *direct) whileRoom(ctx context.Context, dir string) (room context.Context, full <-chan struct{}, stop func()) {
	room, cancel := context.WithCancelCause(ctx)
	over, ended, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(fullEvery)
		defer t.Stop()
		for looks := 0; looks < fullLooks; {
			select {
			case <-t.C:
			case <-done:
				return
			}
			if looks++; !d.isFull(dir) {
				looks = 0
			}
		}
		cancel(&fault{exitUnavailable, fmt.Errorf("the disk of %s is full, and the work stands still: free some space, then resume it", dir)})
		close(over)
	}()
	return room, over, func() {
		close(done)
		<-ended
		cancel(nil)
	}
}

// hushed is a log that says nothing while the disk of a directory is full: that is
// told in one line, and the engine's lines for each try help nobody.
type hushed struct {
	slog.Handler
	d   *direct
	dir string
}

func (h hushed) Handle(ctx context.Context, r slog.Record) error {
	if h.d.isFull(h.dir) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h hushed) WithAttrs(as []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(as)
	return h
}

func (h hushed) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}
