package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/faena-dev/faena"
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

// room is where a direct command works for as long as it can write.
type room struct {
	d      *direct
	dir    string
	ctx    context.Context //nolint:containedctx // it ends with the room
	cancel context.CancelCauseFunc
	stuck  chan struct{} // closed once the engine cannot write: its end is not waited for
	once   sync.Once     // closes stuck
	short  atomic.Int64  // when a write first failed although there is space, in nanoseconds
	stop   func()
}

// whileRoom is a room until ctx ends or the disk of a directory is full: nothing
// ends then, what is under way included, and a person can do something about it.
func (d *direct) whileRoom(ctx context.Context, dir string) *room {
	r := &room{d: d, dir: dir, stuck: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	ended, done := make(chan struct{}), make(chan struct{})
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
		r.stand(fmt.Errorf("the disk of %s is full, and the work stands still: free some space, then resume it", dir))
	}()
	r.stop = func() {
		close(done)
		<-ended
		r.cancel(nil)
	}
	return r
}

// stand ends the room because the engine cannot write.
func (r *room) stand(err error) {
	r.cancel(&fault{exitUnavailable, err})
	r.once.Do(func() { close(r.stuck) })
}

// heard is told what the engine's server says. That there is no space although
// there seems to be some, as when a disk has no inodes, may pass.
func (r *room) heard(says string) {
	for _, l := range []struct{ says, remedy string }{ // of limits free space does not tell
		{syscall.EFBIG.Error(), "raise the limit on the length of files (ulimit -f)"},
		{syscall.EDQUOT.Error(), "free some space"},
	} {
		if strings.Contains(says, l.says) {
			r.stand(fmt.Errorf("writes to %s fail, and the work stands still: %s: %s, then resume it", r.dir, l.says, l.remedy))
		}
	}
	if !strings.Contains(says, syscall.ENOSPC.Error()) {
		return
	}
	now := time.Now().UnixNano()
	if !r.short.CompareAndSwap(0, now) && now-r.short.Load() > int64(fullLooks*fullEvery) {
		r.stand(fmt.Errorf("writes to %s fail, and the work stands still: %s: free some space, or files, then resume it", r.dir, syscall.ENOSPC.Error()))
	}
}

// outputs lets a run whose output has no space wait, so that it is done when the
// work is resumed, and ends the room.
func (r *room) outputs(next faena.Next) faena.Next {
	return func(ctx context.Context, c *faena.Call) (json.RawMessage, error) {
		out, err := next(ctx, c)
		if !remedy.Full(err) {
			return out, err
		}
		r.cancel(&fault{exitUnavailable, errors.New(err.Error() + "; the work stands still, and can be resumed then")})
		return nil, faena.Snooze(time.Second)
	}
}

// hushed is a log that says nothing while there is no room: that is told in one line,
// and the engine's lines for each try help nobody.
type hushed struct {
	slog.Handler
	room *room
}

func (h hushed) Handle(ctx context.Context, r slog.Record) error {
	if h.room.d.isFull(h.room.dir) {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		h.room.heard(a.Value.String())
		return true
	})
	if h.room.ctx.Err() != nil {
		return nil //nolint:nilerr // it is no error of the log
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
