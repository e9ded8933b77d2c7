package index

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
)

// A chunk holds neighbouring rows in one blob: a checksum, then the entries in
// the order of their ids. Chunks part the space of ids without gaps: each is
// named by the lowest id that belongs into it, the first by the zero id.
const (
	// pageSize is of the database. A chunk fits into a page: one that does not is
	// several times as slow to write.
	pageSize  = 4096
	chunkMost = pageSize - 150 // bytes above which a chunk is split
	// chunkFill is what a split at the end of all leaves in a chunk, counting for
	// open rows what they grow by when they end.
	chunkFill = chunkMost * 19 / 20
	growth    = 10
	// chunkFew is under how many bytes one that shrank joins its neighbour.
	chunkFew = chunkMost / 4
)

// entry is a row in a chunk.
type entry struct {
	id    ID
	class uint32
	body  []byte
}

// scanner reads a chunk's entries in order.
type scanner struct {
	entry
	b   []byte
	err error
}

// scan begins to read a chunk.
func scan(data []byte) scanner {
	if len(data) < 4 || binary.LittleEndian.Uint32(data) != checksum(data[4:]) {
		return scanner{err: ErrDamaged}
	}
	return scanner{b: data[4:]}
}

func checksum(b []byte) uint32 {
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// next moves to the next entry. Its body is part of the chunk's bytes.
func (s *scanner) next() bool {
	if len(s.b) == 0 || s.err != nil {
		return false
	}
	// What the id shares with the one before, at both ends, is left out.
	front, back := int(s.b[0]>>4), int(s.b[0]&15)
	d := body{b: s.b[1:]}
	if front+back > 16 {
		s.err = ErrDamaged
		return false
	}
	copy(s.id[front:16-back], d.bytes(uint64(16-front-back))) //nolint:gosec // at most 16
	s.class = uint32(d.uint())                                //nolint:gosec // as written
	s.body = d.bytes(d.uint())
	if d.bad || len(s.body) == 0 {
		s.err = ErrDamaged
		return false
	}
	s.b = d.b
	return true
}

// shared is how many bytes two ids share at their ends, at most 15 in all.
func shared(a, b *ID) (front, back int) {
	for front < 15 && a[front] == b[front] {
		front++
	}
	for back < 15-front && a[15-back] == b[15-back] {
		back++
	}
	return front, back
}

// appendEntry encodes an entry behind one with the id prev.
func appendEntry(b []byte, prev *ID, e *entry) []byte {
	front, back := shared(prev, &e.id)
	b = append(b, byte(front<<4|back)) //nolint:gosec // each below 16
	b = append(b, e.id[front:16-back]...)
	b = binary.AppendUvarint(b, uint64(e.class))
	b = binary.AppendUvarint(b, uint64(len(e.body)))
	return append(b, e.body...)
}

// seal encodes entries as a chunk.
func seal(b []byte, entries []entry) []byte {
	b = append(b[:0], 0, 0, 0, 0)
	var zero ID
	prev := &zero
	for i := range entries {
		b = appendEntry(b, prev, &entries[i])
		prev = &entries[i].id
	}
	binary.LittleEndian.PutUint32(b, checksum(b[4:]))
	return b
}

// size is about what an entry takes behind one with the id prev.
func (e *entry) size(prev *ID) int {
	front, back := shared(prev, &e.id)
	return 20 - front - back + len(e.body)
}

func size(entries []entry) (n int) {
	prev := new(ID)
	for i := range entries {
		n += entries[i].size(prev)
		prev = &entries[i].id
	}
	return n
}

// split parts entries that are too many for a chunk: evenly, or at the end of
// all chunks, where more will follow, into filled ones and a rest.
func split(entries []entry, last bool, classes []class) [][]entry {
	total := size(entries)
	if total <= chunkMost {
		return [][]entry{entries}
	}
	most := chunkFill
	if !last {
		most = total/(total/chunkMost+1) + 1
	}
	var out [][]entry
	from, n := 0, 0
	prev := new(ID)
	for i := range entries {
		more := entries[i].size(prev)
		prev = &entries[i].id
		if last && !classes[entries[i].class].terminal {
			more += growth
		}
		if n += more; n > most && i > from {
			out = append(out, entries[from:i])
			from, n = i, more
		}
	}
	return append(out, entries[from:])
}

// posting says that a chunk holds rows of a class, and with a tag if hash is not 0.
type posting struct {
	hash  int64
	class uint32
}

func comparePostings(a, b posting) int {
	switch {
	case a.hash != b.hash:
		if a.hash < b.hash {
			return -1
		}
		return 1
	default:
		return int(a.class) - int(b.class)
	}
}

// low is the lowest sequence in a stream where an ended row's record stands.
type low struct {
	stream uint8
	seq    uint64
}

// summary is what other tables say of a chunk.
type summary struct {
	due   int64 // unix ms, when the first of its rows has been kept long enough
	lows  []low // by stream
	posts []posting
}

const never = math.MaxInt64

// summarise computes a summary into s.
func (s *summary) summarise(entries []entry, classes []class) error {
	s.due, s.lows, s.posts = never, s.lows[:0], s.posts[:0]
	last := uint32(math.MaxUint32)
	for i := range entries {
		e := &entries[i]
		if int(e.class) >= len(classes) {
			return ErrDamaged
		}
		if e.class != last {
			last = e.class
			s.posts = append(s.posts, posting{class: last})
		}
		terminal := classes[e.class].terminal
		if !terminal && e.body[0]&hasTags == 0 {
			continue
		}
		d := body{b: e.body}
		h := d.head(&e.id)
		if terminal {
			s.due = min(s.due, h.due(&e.id))
			s.lower(h.stream, h.seq)
		}
		if d.skip(h) {
			d.eachTag(func(k, v []byte) bool {
				s.posts = append(s.posts, posting{hash(k, v), e.class})
				return true
			})
		}
		if d.bad {
			return ErrDamaged
		}
	}
	slices.SortFunc(s.posts, comparePostings)
	s.posts = slices.Compact(s.posts)
	slices.SortFunc(s.lows, func(a, b low) int { return int(a.stream) - int(b.stream) })
	return nil
}

func (s *summary) lower(stream uint8, seq uint64) {
	for i := range s.lows {
		if s.lows[i].stream == stream {
			s.lows[i].seq = min(s.lows[i].seq, seq)
			return
		}
	}
	s.lows = append(s.lows, low{stream, seq})
}

// due is when an ended row has been kept long enough.
func (h *head) due(id *ID) int64 {
	end := h.end
	if end == 0 {
		end = millis(id)
	}
	return end + int64(h.keep)*1000
}

// diff calls gone for what only a sorted list holds, and added for what only b.
func diff(a, b []posting, gone, added func(posting) error) error {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && comparePostings(a[0], b[0]) < 0:
			if err := gone(a[0]); err != nil {
				return err
			}
			a = a[1:]
		case len(a) == 0 || comparePostings(a[0], b[0]) > 0:
			if err := added(b[0]); err != nil {
				return err
			}
			b = b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return nil
}

func compareIDs(a, b ID) int { return bytes.Compare(a[:], b[:]) }

// step is the id after or before another; ok is false when there is none.
func step(id ID, up bool) (_ ID, ok bool) {
	for i := 15; i >= 0; i-- {
		if up {
			if id[i]++; id[i] != 0 {
				return id, true
			}
		} else {
			if id[i]--; id[i] != 255 {
				return id, true
			}
		}
	}
	return id, false
}
