// Package frontier keeps what a crawl has found and not fetched yet. It does no
// input or output and knows no time.
//
// # Invariants
//
//   - An address is claimed once and for all by the first Add that names it. It
//     is then pending, taken (Pop, until Finish) or finished.
//   - The state is a fold over the finished pages in any order: applying the
//     same Add and Finish calls to a new Frontier, or to one restored from a
//     Snapshot, gives the same claims. So a log of {added, finished} is enough
//     to go on after a crash, and a record that is applied twice does no harm.
//   - What was taken and not finished is pending again after a restore.
//
// # Claims
//
// A claim is the first 128 bits of the address's SHA-256. With n addresses the
// odds that any two collide are about n²/2¹²⁹: for a thousand million addresses
// 10⁻²¹. A shorter or weaker hash would let a site choose addresses that hide
// others. A claim costs some 30 to 40 bytes of memory and 16 in a Snapshot.
package frontier

import (
	"crypto/sha256"
	"iter"
	"maps"
	"slices"

	"github.com/faena-dev/faena/tasks/scrape/link"
)

// An Item is an address to fetch, in canonical form.
type Item struct {
	URL string `json:"url"`
	// Depth is the number of links followed from a start address.
	Depth int `json:"depth,omitempty"`
	// Hops is the number of redirects followed since the last link.
	Hops int `json:"hops,omitempty"`
	// Referrer is the page where the address was found first.
	Referrer string `json:"referrer,omitempty"`
}

// A Limit bounds what a Frontier accepts. It stands in snapshots.
type Limit struct {
	// Depth is the greatest depth accepted. Default: 0, no limit; negative:
	// the start addresses only.
	Depth int
	// Pages is the greatest number of claims. Default: 0, no limit.
	Pages int
}

type key [16]byte

func keyOf(url string) key {
	sum := sha256.Sum256([]byte(url))
	return key(sum[:16])
}

type state uint8

const (
	pending state = iota
	taken
	finished
)

// A Frontier is first in, first out per host. With a limit of depth it deals
// out level by level: nothing of depth d+1 is given before all of depth d is
// finished, since a page found late on a short way would else be taken for a
// deep one and its links be missed. It must not be used concurrently.
type Frontier struct {
	limit   Limit
	seen    map[key]state
	hosts   map[string]*queue
	taken   map[key]Item
	next    []Item      // of the levels below, with a limit of depth
	at      map[key]int // where in next
	level   int
	pending int // in queues and next, in state pending
	ghosts  int // in queues and next, not in state pending: a log is being applied
	full    bool
}

type queue struct {
	items []Item
	head  int
}

// New returns an empty Frontier.
func New(limit Limit) *Frontier {
	return &Frontier{
		limit: limit,
		seen:  make(map[key]state),
		hosts: make(map[string]*queue),
		taken: make(map[key]Item),
		at:    make(map[key]int),
	}
}

// Add claims an address. It is false if the address was claimed before or lies
// beyond a limit; but with a limit of depth it is true for one that waits for a
// deeper level and moves up, as when a redirect leads to what a link has named.
func (f *Frontier) Add(it Item) bool {
	if f.limit.Depth > 0 && it.Depth > f.limit.Depth || f.limit.Depth < 0 && it.Depth > 0 {
		return false
	}
	k := keyOf(it.URL)
	if st, dup := f.seen[k]; dup {
		return st == pending && f.raise(k, it)
	}
	if f.limit.Pages > 0 && len(f.seen) >= f.limit.Pages {
		f.full = true
		return false
	}
	f.seen[k] = pending
	f.pending++
	f.push(it)
	return true
}

// raise moves an address of a level below up.
func (f *Frontier) raise(k key, it Item) bool {
	i, ok := f.at[k]
	if !ok || f.next[i].Depth <= it.Depth {
		return false
	}
	if it.Depth > f.level {
		f.next[i] = it
		return true
	}
	last := len(f.next) - 1
	f.next[i] = f.next[last]
	f.at[keyOf(f.next[i].URL)] = i
	f.next = f.next[:last]
	delete(f.at, k)
	f.push(it)
	return true
}

func (f *Frontier) push(it Item) {
	if f.limit.Depth > 0 && it.Depth > f.level {
		f.at[keyOf(it.URL)] = len(f.next)
		f.next = append(f.next, it)
		return
	}
	host := link.Host(it.URL)
	q := f.hosts[host]
	if q == nil {
		q = new(queue)
		f.hosts[host] = q
	}
	q.items = append(q.items, it)
}

// Pop takes the oldest pending address of a host, as Hosts and link.Host name
// it.
func (f *Frontier) Pop(host string) (Item, bool) {
	for q := f.hosts[host]; q != nil; q = f.hosts[host] {
		it := q.items[q.head]
		q.items[q.head] = Item{}
		q.head++
		if q.head == len(q.items) {
			delete(f.hosts, host)
		} else if q.head >= 1024 && q.head*2 >= len(q.items) {
			q.items = append([]Item(nil), q.items[q.head:]...)
			q.head = 0
		}
		k := keyOf(it.URL)
		if f.seen[k] != pending {
			f.ghosts--
			continue
		}
		f.seen[k] = taken
		f.pending--
		f.taken[k] = it
		return it, true
	}
	return Item{}, false
}

// Next takes up to n pending addresses, from each host in turn, and goes on to
// the next level where one is finished. It is for callers that fetch in
// batches. An empty answer with Taken() > 0 means that those must be finished
// first.
func (f *Frontier) Next(n int) []Item {
	f.Advance()
	var out []Item
	for len(out) < n && len(f.hosts) > 0 {
		for host := range f.hosts {
			if len(out) == n {
				break
			}
			if it, ok := f.Pop(host); ok {
				out = append(out, it)
			}
		}
	}
	return out
}

// Take takes an address out of turn: for a caller that finds again what it had
// under way. It is false if the address is finished or taken already. One that
// was never claimed is claimed, whatever the limits: they let it in before.
func (f *Frontier) Take(it Item) bool {
	k := keyOf(it.URL)
	st, claimed := f.seen[k]
	if claimed && st != pending {
		return false
	}
	if claimed {
		f.pending--
		f.ghosts++
	}
	f.seen[k] = taken
	f.taken[k] = it
	return true
}

// Finish says that an address is done with, for good: taken or pending, or one
// that was never added and never will be.
func (f *Frontier) Finish(url string) {
	k := keyOf(url)
	st, claimed := f.seen[k]
	f.seen[k] = finished
	switch {
	case claimed && st == taken:
		delete(f.taken, k)
	case claimed && st == pending:
		f.pending--
		f.ghosts++
	}
}

// Release makes what is taken pending again: who took it will not finish it.
func (f *Frontier) Release() {
	f.settle() // before what was taken out of turn has a second place
	for k, it := range f.taken {
		f.seen[k] = pending
		f.pending++
		f.push(it)
	}
	clear(f.taken)
}

// Advance goes on to the next level if this one has nothing pending or taken.
// It is true if there is anything to take because of that.
func (f *Frontier) Advance() bool {
	f.settle()
	if len(f.hosts) > 0 || len(f.taken) > 0 || len(f.next) == 0 {
		return false
	}
	f.level = f.next[0].Depth
	for _, it := range f.next {
		f.level = min(f.level, it.Depth)
	}
	items := f.next
	f.next = nil
	clear(f.at)
	for _, it := range items {
		f.push(it)
	}
	return true
}

// settle drops what was finished or taken out of turn.
func (f *Frontier) settle() {
	if f.ghosts == 0 {
		return
	}
	done := func(it Item) bool { return f.seen[keyOf(it.URL)] != pending }
	for host, q := range f.hosts {
		q.items = slices.DeleteFunc(q.items[q.head:], done)
		q.head = 0
		if len(q.items) == 0 {
			delete(f.hosts, host)
		}
	}
	f.next = slices.DeleteFunc(f.next, done)
	clear(f.at)
	for i, it := range f.next {
		f.at[keyOf(it.URL)] = i
	}
	f.ghosts = 0
}

// Hosts iterates over the hosts that have addresses to take, in no order.
func (f *Frontier) Hosts() iter.Seq[string] {
	f.settle()
	return maps.Keys(f.hosts)
}

// Idle is true when all that was claimed is finished.
func (f *Frontier) Idle() bool { return f.pending == 0 && len(f.taken) == 0 }

// Pending counts the addresses that wait to be taken.
func (f *Frontier) Pending() int { return f.pending }

// Taken counts the addresses that are taken and not finished.
func (f *Frontier) Taken() int { return len(f.taken) }

// Claimed counts all addresses ever claimed.
func (f *Frontier) Claimed() int { return len(f.seen) }

// Full is true once an address was refused because of Limit.Pages.
func (f *Frontier) Full() bool { return f.full }

// Trim drops the pending addresses that are too many for Limit.Pages, those found
// last first: where what was fetched is known before what was only found, the
// fetched ones have come on top.
func (f *Frontier) Trim() {
	f.settle()
	drop := func(items []Item) []Item {
		for len(items) > 0 && len(f.seen) > f.limit.Pages {
			k := keyOf(items[len(items)-1].URL)
			delete(f.seen, k)
			delete(f.at, k)
			items = items[:len(items)-1]
			f.pending--
			f.full = true
		}
		return items
	}
	if f.limit.Pages <= 0 {
		return
	}
	f.next = drop(f.next)
	for host, q := range f.hosts {
		q.items, q.head = drop(q.items[q.head:]), 0
		if len(q.items) == 0 {
			delete(f.hosts, host)
		}
	}
}
