package natsengine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/faena-dev/faena/engine"
)

// subjectMembers is where a holder notes which nodes live, so that the next one
// knows whom to wait for before it says that nobody has a run in hand. No run has
// such an id.
const subjectMembers = subjectHome + "members"

// members are the live nodes. The owner's own work ends with its process.
type members struct {
	Owner string   `json:"owner"`
	Nodes []string `json:"nodes"`
}

// loadMembers reads whom the process before this one knew to be alive.
func (h *holder) loadMembers(ctx context.Context) error {
	m, err := h.e.getLast(ctx, streamHome, subjectMembers)
	if err != nil || m == nil {
		return err
	}
	var noted members
	if err := json.Unmarshal(m.data, &noted); err != nil {
		h.e.log.WarnContext(ctx, "the note of which nodes were alive cannot be read: it is written anew", "error", err)
		return nil
	}
	n := &h.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, id := range noted.Nodes {
		if id != noted.Owner {
			n.missing[id] = true
		}
	}
	return nil
}

// settleTime is within which a node that has only just begun to work, so that no
// note tells of it, has connected to an owner that has started anew.
const settleTime = time.Second

// settled tells whether every node that was alive has been heard since this
// process listens, or is dead.
func (n *nodes) settled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.settledLocked()
}

func (n *nodes) settledLocked() bool {
	if n.from.IsZero() {
		return false
	}
	since := time.Since(n.from)
	return since > deadAfter || since > settleTime && len(n.missing) == 0
}

// members lists those that live, and those that may.
func (n *nodes) members() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := slices.Collect(maps.Keys(n.m))
	if !n.settledLocked() {
		ids = slices.AppendSeq(ids, maps.Keys(n.missing))
	}
	slices.Sort(ids)
	return ids
}

// noteMembers notes which nodes live if that has changed. It is on disk with the
// next commit; a node that a power cut takes from the note had no time to begin
// anything that the cut has left.
func (h *holder) noteMembers() {
	ids := h.nodes.members()
	if slices.Equal(ids, h.noted) {
		return
	}
	ctx, cancel := context.WithTimeout(h.e.ctx, requestTimeout)
	defer cancel()
	err := h.e.hooked(engine.WriteMembers, func() error {
		b, err := json.Marshal(members{Owner: h.e.id, Nodes: ids})
		if err != nil {
			return fmt.Errorf("note which nodes are alive: %w", err)
		}
		_, err = h.e.js.PublishMsg(ctx, &nats.Msg{Subject: subjectMembers, Data: b})
		return err
	})
	if h.e.died(err) {
		return
	}
	if err != nil {
		h.e.logError("the index holder", "note which nodes are alive", err)
		return
	}
	h.noted = ids
}
