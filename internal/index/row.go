package index

import (
	"encoding/binary"
	"unicode/utf8"
)

// ID names a run. Its first 6 bytes are the time it was made, unix milliseconds,
// big endian: ids order as these times do.
type ID = [16]byte

// Tag is a pair of strings that runs are filtered by.
type Tag struct{ Key, Value string }

// Row is what the index holds of a run.
type Row struct {
	ID          ID
	State       uint8
	Queue, Task string
	Keep        uint32 // seconds that the run is kept after End
	Rev         uint32 // grows with each change of an open run
	Attempt     uint16
	// At is when a run that waits for its time is due, Start when it began, End
	// when it ended: unix ms, zero for none. An ended row without End counts as
	// ended when it was made.
	At, Start, End int64
	// Where the newest record of the run stands: stream, sequence, byte offset.
	Stream uint8
	Seq    uint64
	Off    uint32
	// Where the queue message stands that the run was worked from.
	Src    uint8
	SrcSeq uint64
	// Objects says that large values of the run are stored elsewhere. Once a row
	// of a run had it, it stays, also when that row came too late to count.
	Objects bool
	RetryOf ID // the run that this one repeats
	// RetriedBy is the run that repeats this ended one. Only the index sets it.
	RetriedBy ID
	Note      string // a short text, cut at 512 bytes
	Tags      []Tag
}

const noteMost = 512

// Flags of a row's body.
const (
	hasObjects = 1 << iota
	hasAt
	hasStart
	hasEnd
	hasRetryOf
	hasRetriedBy
	hasNote
	hasTags
)

func millis(id *ID) int64 {
	return int64(binary.BigEndian.Uint64(id[:]) >> 16)
}

// appendBody encodes what a row holds beyond id and class. Times are distances
// from the id's time.
func appendBody(b []byte, r *Row, flags byte, retriedBy *ID) []byte {
	base := millis(&r.ID)
	flag := func(on bool, f byte) {
		if on {
			flags |= f
		}
	}
	flag(r.Objects, hasObjects)
	flag(r.At != 0, hasAt)
	flag(r.Start != 0, hasStart)
	flag(r.End != 0, hasEnd)
	flag(r.RetryOf != ID{}, hasRetryOf)
	flag(*retriedBy != ID{}, hasRetriedBy)
	flag(r.Note != "", hasNote)
	flag(len(r.Tags) > 0, hasTags)
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(r.Rev))
	b = binary.AppendUvarint(b, uint64(r.Keep))
	if r.End != 0 {
		b = binary.AppendVarint(b, r.End-base)
	}
	b = append(b, r.Stream)
	b = binary.AppendUvarint(b, r.Seq)
	b = binary.AppendUvarint(b, uint64(r.Off))
	b = append(b, r.Src)
	b = binary.AppendUvarint(b, r.SrcSeq)
	b = binary.AppendUvarint(b, uint64(r.Attempt))
	if r.Start != 0 {
		b = binary.AppendVarint(b, r.Start-base)
	}
	if r.At != 0 {
		b = binary.AppendVarint(b, r.At-base)
	}
	if r.RetryOf != (ID{}) {
		b = append(b, r.RetryOf[:]...)
	}
	if *retriedBy != (ID{}) {
		b = append(b, retriedBy[:]...)
	}
	if r.Note != "" {
		b = appendText(b, cut(r.Note))
	}
	if len(r.Tags) > 0 {
		b = binary.AppendUvarint(b, uint64(len(r.Tags)))
		for _, t := range r.Tags {
			b = appendText(appendText(b, t.Key), t.Value)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func cut(s string) string {
	if len(s) <= noteMost {
		return s
	}
	n := noteMost
	for n > noteMost-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// body takes an encoded body apart. After a malformed one bad is set.
type body struct {
	b   []byte
	bad bool
}

func (d *body) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *body) int() int64 {
	v := d.uint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *body) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *body) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *body) text() []byte { return d.bytes(d.uint()) }

func (d *body) id() (id ID) {
	copy(id[:], d.bytes(16))
	return id
}

// head is the part of a body that a chunk's summary needs.
type head struct {
	flags  byte
	rev    uint32
	keep   uint32
	end    int64
	stream uint8
	seq    uint64
}

func (d *body) head(id *ID) (h head) {
	h.flags = d.byte()
	h.rev = uint32(d.uint())  //nolint:gosec // as written
	h.keep = uint32(d.uint()) //nolint:gosec // as written
	if h.flags&hasEnd != 0 {
		h.end = millis(id) + d.int()
	}
	h.stream = d.byte()
	h.seq = d.uint()
	return h
}

// tail reads the rest of the fixed part into r.
func (d *body) tail(h head, r *Row) {
	r.Off = uint32(d.uint()) //nolint:gosec // as written
	r.Src = d.byte()
	r.SrcSeq = d.uint()
	r.Attempt = uint16(d.uint()) //nolint:gosec // as written
	if h.flags&hasStart != 0 {
		r.Start = millis(&r.ID) + d.int()
	}
	if h.flags&hasAt != 0 {
		r.At = millis(&r.ID) + d.int()
	}
	if h.flags&hasRetryOf != 0 {
		r.RetryOf = d.id()
	}
	if h.flags&hasRetriedBy != 0 {
		r.RetriedBy = d.id()
	}
}

// eachTag calls f with each tag, at the end of a body, until it returns false.
func (d *body) eachTag(f func(key, value []byte) bool) {
	for n := d.uint(); n > 0 && !d.bad; n-- {
		k := d.text()
		if v := d.text(); !d.bad && !f(k, v) {
			return
		}
	}
}

// skip moves from behind the head to the tags, if there are any.
func (d *body) skip(h head) bool {
	if h.flags&hasTags == 0 {
		return false
	}
	var r Row
	d.tail(h, &r)
	if h.flags&hasNote != 0 {
		d.text()
	}
	return !d.bad
}

// row decodes an entry fully; its class gives state, queue and task.
func (e *entry) row(c *class) (r Row, err error) {
	d := body{b: e.body}
	r.ID = e.id
	r.State, r.Queue, r.Task = c.state, c.queue, c.task
	h := d.head(&e.id)
	r.Objects = h.flags&hasObjects != 0
	r.Rev, r.Keep, r.End, r.Stream, r.Seq = h.rev, h.keep, h.end, h.stream, h.seq
	d.tail(h, &r)
	if h.flags&hasNote != 0 {
		r.Note = string(d.text())
	}
	if h.flags&hasTags != 0 {
		d.eachTag(func(k, v []byte) bool {
			r.Tags = append(r.Tags, Tag{string(k), string(v)})
			return true
		})
	}
	if d.bad {
		return r, ErrDamaged
	}
	return r, nil
}

// hash is the posting key of a tag. It is stored; never zero, which means no tag.
func hash[T string | []byte](key, value T) int64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h = (h ^ 0x1ff) * 1099511628211 // no byte: ends the key
	for i := range len(value) {
		h = (h ^ uint64(value[i])) * 1099511628211
	}
	return int64(h | 1) //nolint:gosec // any bits do
}
