package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// WireVersion is the format of envelopes and records that this program writes.
// Older ones are read; a newer one is refused.
const WireVersion = 1

var errShort = errors.New("it ends in the middle")

// A message is a version byte and any number of frames, each a length and the
// body. Fields stand in a fixed order; a later version may append fields, which
// an older program of the same version byte ignores.

// AppendRun appends a run's frame to a message, which it begins if it is empty.
func AppendRun(b []byte, r *Run) []byte {
	b, at := begin(b)
	b = append(b, r.ID[:]...)
	b = appendString(b, r.Queue)
	b = appendString(b, r.Task)
	flags := uint64(0)
	for i, f := range []bool{r.Doubt, r.Detached, r.Input.Apart, r.Failure != nil, !r.Parent.IsZero(), !r.RetryOf.IsZero()} {
		if f {
			flags |= 1 << i
		}
	}
	b = appendUints(b, flags, uint64(r.Rev), uint64(r.Attempt), uint64(r.Deaths))
	b = appendInts(b, r.At, r.Deadline, int64(r.Timeout), int64(r.Retry.Base), int64(r.Retry.Cap))
	b = appendUints(b, uint64(r.Retry.Attempts), uint64(r.Keep[0]), uint64(r.Keep[1]))
	if !r.Parent.IsZero() {
		b = append(b, r.Parent[:]...)
	}
	if !r.RetryOf.IsZero() {
		b = append(b, r.RetryOf[:]...)
	}
	b = appendString(b, r.Trace)
	b = appendTags(b, r.Tags)
	b = appendFailure(b, r.Failure)
	b = appendValue(b, &r.Input)
	return end(b, at)
}

// AppendRecord appends a record's frame to a message, which it begins if it is
// empty.
func AppendRecord(b []byte, r *Record) []byte {
	b, at := begin(b)
	b = append(b, r.ID[:]...)
	b = append(b, byte(r.State))
	b = appendString(b, r.Queue)
	b = appendString(b, r.Task)
	flags := uint64(0)
	for i, f := range []bool{r.Output.Apart, r.Failure != nil, !r.Parent.IsZero(), !r.RetryOf.IsZero()} {
		if f {
			flags |= 1 << i
		}
	}
	b = appendUints(b, flags, uint64(r.Rev), uint64(r.Attempt), uint64(r.Deaths), uint64(r.Keep))
	b = appendInts(b, r.Start, r.End-r.Start)
	b = appendUints(b, uint64(r.Src), r.SrcSeq, r.CopySeq)
	if !r.Parent.IsZero() {
		b = append(b, r.Parent[:]...)
	}
	if !r.RetryOf.IsZero() {
		b = append(b, r.RetryOf[:]...)
	}
	b = appendTags(b, r.Tags)
	b = appendFailure(b, r.Failure)
	b = appendValue(b, &r.Output)
	return end(b, at)
}

// Decoder reads messages. It keeps the names it has seen, so that they are
// allocated once; it must not be used concurrently. Values alias the message.
type Decoder struct {
	names map[string]string
	hot   [4]string // met last
	at    int
}

// Frames calls fn with each frame's body and its offset in the message.
func Frames(msg []byte, fn func(body []byte, off int) error) error { return FramesFrom(msg, 1, fn) }

// FramesFrom is Frames from the frame at an offset on.
func FramesFrom(msg []byte, from int, fn func(body []byte, off int) error) error {
	if len(msg) == 0 {
		return fmt.Errorf("read message: %w", errShort)
	}
	if msg[0] == 0 || msg[0] > WireVersion {
		return &Error{Code: CodeVersion, Op: "read message", Err: fmt.Errorf("format %d is newer than this program's %d: run the newer version", msg[0], WireVersion)}
	}
	for off := from; off < len(msg); {
		n, k := binary.Uvarint(msg[off:])
		if k <= 0 || uint64(len(msg)-off-k) < n { //nolint:gosec // what is left, never negative
			return fmt.Errorf("read message: %w", errShort)
		}
		body := msg[off+k : off+k+int(n)] //nolint:gosec // within the message
		if err := fn(body, off); err != nil {
			return err
		}
		off += k + len(body)
	}
	return nil
}

// Run reads a run's frame.
func (d *Decoder) Run(body []byte, r *Run) error {
	c := cursor{b: body, d: d}
	c.id(&r.ID)
	r.Queue, r.Task = c.name(), c.name()
	flags := c.uint()
	r.Doubt, r.Detached, r.Input.Apart = flags&1 != 0, flags&2 != 0, flags&4 != 0
	r.Rev, r.Attempt, r.Deaths = uint32(c.uint()), uint16(c.uint()), uint8(c.uint()) //nolint:gosec // as written
	r.At, r.Deadline, r.Timeout = c.int(), c.int(), time.Duration(c.int())
	r.Retry.Base, r.Retry.Cap, r.Retry.Attempts = time.Duration(c.int()), time.Duration(c.int()), uint16(c.uint()) //nolint:gosec // as written
	r.Keep[0], r.Keep[1] = uint32(c.uint()), uint32(c.uint())                                                      //nolint:gosec // as written
	if flags&16 != 0 {
		c.id(&r.Parent)
	}
	if flags&32 != 0 {
		c.id(&r.RetryOf)
	}
	r.Trace = c.string()
	r.Tags = c.tags()
	r.Failure = c.failure(flags&8 != 0)
	c.value(&r.Input)
	return c.done("envelope")
}

// Record reads a record's frame.
func (d *Decoder) Record(body []byte, r *Record) error {
	c := cursor{b: body, d: d}
	c.id(&r.ID)
	r.State = State(c.byte())
	r.Queue, r.Task = c.name(), c.name()
	flags := c.uint()
	r.Output.Apart = flags&1 != 0
	r.Rev, r.Attempt, r.Deaths, r.Keep = uint32(c.uint()), uint16(c.uint()), uint8(c.uint()), uint32(c.uint()) //nolint:gosec // as written
	r.Start = c.int()
	r.End = r.Start + c.int()
	r.Src, r.SrcSeq, r.CopySeq = uint8(c.uint()), c.uint(), c.uint() //nolint:gosec // as written
	if flags&4 != 0 {
		c.id(&r.Parent)
	}
	if flags&8 != 0 {
		c.id(&r.RetryOf)
	}
	r.Tags = c.tags()
	r.Failure = c.failure(flags&2 != 0)
	c.value(&r.Output)
	return c.done("record")
}

// AppendNext appends a run's frame again, unchanged but for its revision, which
// rises by one, its doubt, which stays if it was there, and its deaths, which rise
// by one if it died.
func AppendNext(b, body []byte, doubt, died bool) ([]byte, error) {
	c := cursor{b: body}
	c.skip(uint64(len(ID{})))
	c.skip(c.uint())
	c.skip(c.uint())
	head := body[:len(body)-len(c.b)]
	flags, rev, attempt, deaths := c.uint(), c.uint(), c.uint(), c.uint()
	if c.bad {
		return b, c.done("envelope")
	}
	if doubt {
		flags |= 1
	}
	if died {
		deaths = min(deaths&math.MaxUint8+1, math.MaxUint8) // as it would be read
	}
	b, at := begin(b)
	b = append(b, head...)
	b = appendUints(b, flags, rev+1, attempt, deaths)
	b = append(b, c.b...)
	return end(b, at), nil
}

// FrameAt is the body of the frame at an offset that Frames gave.
func FrameAt(msg []byte, off int) ([]byte, error) {
	if off < 1 || off >= len(msg) {
		return nil, fmt.Errorf("read frame at %d: %w", off, errShort)
	}
	n, k := binary.Uvarint(msg[off:])
	if k <= 0 || uint64(len(msg)-off-k) < n { //nolint:gosec // what is left, never negative
		return nil, fmt.Errorf("read frame at %d: %w", off, errShort)
	}
	return msg[off+k : off+k+int(n)], nil //nolint:gosec // within the message
}

// begin leaves room for a length of up to 4 bytes.
func begin(b []byte) ([]byte, int) {
	if len(b) == 0 {
		b = append(b, WireVersion)
	}
	return append(b, 0, 0, 0, 0), len(b)
}

// end writes the length as a varint padded to 4 bytes: bodies are under 256 MB.
func end(b []byte, at int) []byte {
	n := len(b) - at - 4
	for i := range 3 {
		b[at+i] = byte(n)&0x7f | 0x80 //nolint:gosec // seven bits at a time
		n >>= 7
	}
	b[at+3] = byte(n) //nolint:gosec // seven bits at a time
	return b
}

func appendUints(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func appendInts(b []byte, vs ...int64) []byte {
	for _, v := range vs {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTags(b []byte, tags []Tag) []byte {
	b = binary.AppendUvarint(b, uint64(len(tags)))
	for _, t := range tags {
		b = appendString(appendString(b, t.Key), t.Value)
	}
	return b
}

func appendFailure(b []byte, f *Failure) []byte {
	if f == nil {
		return b
	}
	return appendString(appendString(appendString(b, string(f.Code)), f.Message), f.Stack)
}

func appendValue(b []byte, v *Value) []byte {
	if v.Apart {
		return appendString(binary.AppendVarint(b, v.Size), v.Name)
	}
	return append(binary.AppendUvarint(b, uint64(len(v.Data))), v.Data...)
}

// cursor reads fields; after the first that is cut short all are zero.
type cursor struct {
	b   []byte
	d   *Decoder
	bad bool
}

func (c *cursor) fail() { c.b, c.bad = nil, true }

func (c *cursor) done(what string) error {
	if c.bad {
		return fmt.Errorf("read %s: %w", what, errShort)
	}
	return nil
}

func (c *cursor) id(id *ID) {
	if len(c.b) < len(id) {
		c.fail()
		return
	}
	c.b = c.b[copy(id[:], c.b):]
}

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.fail()
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) uint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) int() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) skip(n uint64) {
	if uint64(len(c.b)) < n {
		c.fail()
		return
	}
	c.b = c.b[n:]
}

func (c *cursor) bytes() []byte {
	n := c.uint()
	if uint64(len(c.b)) < n {
		c.fail()
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) string() string { return string(c.bytes()) }

// name is a string that recurs.
func (c *cursor) name() string {
	b := c.bytes()
	for _, s := range &c.d.hot {
		if s == string(b) {
			return s
		}
	}
	s := c.known(b)
	c.d.hot[c.d.at&3] = s
	c.d.at++
	return s
}

func (c *cursor) known(b []byte) string {
	if s, ok := c.d.names[string(b)]; ok {
		return s
	}
	if c.d.names == nil || len(c.d.names) > 10_000 {
		c.d.names = map[string]string{}
	}
	s := string(b)
	c.d.names[s] = s
	return s
}

func (c *cursor) tags() []Tag {
	n := c.uint()
	if n > uint64(len(c.b))/2 { // each takes two bytes at least
		c.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	tags := make([]Tag, n)
	for i := range tags {
		tags[i] = Tag{c.name(), c.string()}
	}
	return tags
}

func (c *cursor) failure(there bool) *Failure {
	if !there {
		return nil
	}
	return &Failure{Code(c.name()), c.string(), c.string()}
}

func (c *cursor) value(v *Value) {
	if v.Apart {
		v.Size, v.Name = c.int(), c.string()
		return
	}
	v.Data = c.bytes()
}
