package natsengine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
)

// ackTimeout is how long a publish waits for the server's answer before it is in
// doubt. A local server answers within milliseconds, a new leader in a second.
const ackTimeout = 5 * time.Second

// maxUnanswered bounds the publishes of one connection without an answer yet.
const maxUnanswered = 16384

var (
	errUnanswered = errors.New("the server did not answer")
	// errMoved is for what one server has stored and another is asked to commit: it
	// may not have it.
	errMoved = fmt.Errorf("%w: another has taken its place", errUnanswered)
)

// publisher publishes to JetStream without waiting for each answer. It is the
// hot path of submission and completion: answers are counted per group, not per
// message, and read without a JSON decoder.
type publisher struct {
	nc     *nats.Conn
	inbox  string
	hook   engine.WriteHook
	tokens chan struct{}

	mu   sync.Mutex
	next uint64
	wait map[uint64]pending
}

// pending is one publish that is not answered yet.
type pending struct {
	g   *group
	seq *uint64 // where its sequence goes; may be nil
}

// group is a set of publishes that are waited for together.
type group struct {
	p      *publisher
	server string // that is to store them all

	mu    sync.Mutex
	left  int
	open  bool // more may be added
	high  uint64
	err   error
	done  chan struct{}
	kinds []engine.Write // of what was published, if there is a hook
}

func newPublisher(nc *nats.Conn, hook engine.WriteHook) (*publisher, error) {
	p := &publisher{
		nc: nc, hook: hook, inbox: nc.NewInbox() + ".",
		tokens: make(chan struct{}, maxUnanswered), wait: map[uint64]pending{},
	}
	_, err := nc.Subscribe(p.inbox+"*", p.answer)
	if err != nil {
		return nil, fmt.Errorf("subscribe to answers: %w", err)
	}
	return p, nil
}

func (p *publisher) group() *group {
	return &group{p: p, server: p.nc.ConnectedServerId(), open: true, done: make(chan struct{})}
}

// add publishes one message. It blocks while too many are unanswered.
func (g *group) add(ctx context.Context, w engine.Write, subject string, hdr nats.Header, data []byte) error {
	return g.addSeq(ctx, w, subject, hdr, data, nil)
}

// addSeq is add that also stores the message's sequence in *at, before wait
// returns.
func (g *group) addSeq(ctx context.Context, w engine.Write, subject string, hdr nats.Header, data []byte, at *uint64) error {
	p := g.p
	if p.hook != nil {
		if err := p.hook(w, false); err != nil {
			return err
		}
	}
	select {
	case p.tokens <- struct{}{}:
	default:
		select {
		case p.tokens <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	g.mu.Lock()
	g.left++
	g.mu.Unlock()
	p.mu.Lock()
	p.next++
	t := p.next
	p.wait[t] = pending{g, at}
	p.mu.Unlock()
	if p.hook != nil {
		g.kinds = append(g.kinds, w)
	}
	var buf [96]byte
	reply := string(strconv.AppendUint(append(buf[:0], p.inbox...), t, 36))
	var err error
	if hdr == nil {
		err = p.nc.PublishRequest(subject, reply, data)
	} else {
		err = p.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Header: hdr, Data: data})
	}
	if err != nil {
		if p.drop(t).g != nil { // else the connection was lost meanwhile, and it is settled
			g.settle(0, nil, err)
		}
		return fmt.Errorf("publish to %s: %w", subject, err)
	}
	return nil
}

// wait returns when all messages are stored, or the first error. An error that
// is errUnanswered leaves it open whether they are.
func (g *group) wait(ctx context.Context) error {
	err := g.answered(ctx)
	if err == nil && g.p.nc.ConnectedServerId() != g.server { // they may stand on several
		err = errMoved
	}
	for _, w := range g.kinds {
		if e := g.p.hook(w, true); e != nil { // the answer is lost
			err = fmt.Errorf("%w: %w", errUnanswered, e)
		}
	}
	return err
}

func (g *group) answered(ctx context.Context) error {
	g.mu.Lock()
	g.open = false
	if g.left == 0 {
		defer g.mu.Unlock()
		return g.err
	}
	g.mu.Unlock()
	t := time.NewTimer(ackTimeout)
	defer t.Stop()
	select {
	case <-g.done:
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.err
	case <-t.C:
		return errUnanswered
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errUnanswered, context.Cause(ctx))
	}
}

// settle counts one answer.
func (g *group) settle(seq uint64, at *uint64, err error) {
	g.mu.Lock()
	g.left--
	g.high = max(g.high, seq)
	if at != nil {
		*at = seq
	}
	if g.err == nil {
		g.err = err
	}
	if g.left == 0 && !g.open {
		close(g.done)
	}
	g.mu.Unlock()
	<-g.p.tokens
}

func (p *publisher) drop(t uint64) pending {
	p.mu.Lock()
	g := p.wait[t]
	delete(p.wait, t)
	p.mu.Unlock()
	return g
}

// answer takes the server's answer to one publish.
func (p *publisher) answer(m *nats.Msg) {
	t, err := strconv.ParseUint(m.Subject[len(p.inbox):], 36, 64)
	if err != nil {
		return
	}
	w := p.drop(t)
	if w.g == nil {
		return
	}
	seq, err := parseAck(m)
	w.g.settle(seq, w.seq, err)
}

// disconnected fails all that is unanswered: the connection was lost, so no
// answer will come.
func (p *publisher) disconnected() {
	p.mu.Lock()
	all := p.wait
	p.wait = map[uint64]pending{}
	p.mu.Unlock()
	for _, w := range all {
		w.g.settle(0, nil, errUnanswered)
	}
}

// parseAck reads {"stream":"…","seq":n…}, or an error.
func parseAck(m *nats.Msg) (uint64, error) {
	if bytes.HasPrefix(m.Data, []byte(`{"stream":`)) {
		if i := bytes.Index(m.Data, []byte(`"seq":`)); i > 0 {
			n := uint64(0)
			for _, c := range m.Data[i+6:] {
				if c < '0' || c > '9' {
					break
				}
				n = n*10 + uint64(c-'0')
			}
			return n, nil
		}
	}
	if m.Header.Get("Status") == "503" {
		return 0, errUnanswered
	}
	var a struct {
		Error *jetstream.APIError `json:"error"`
		Seq   uint64              `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return 0, fmt.Errorf("read the server's answer: %w", err)
	}
	if a.Error != nil {
		return 0, a.Error
	}
	return a.Seq, nil
}
