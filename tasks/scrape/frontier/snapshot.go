package frontier

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The first byte of a snapshot is its format.
const format = 1

var errSnapshot = errors.New("damaged snapshot")

// Snapshot returns the whole state: 16 bytes for each finished address, and
// the others compressed. What is taken counts as pending.
func (f *Frontier) Snapshot() []byte {
	f.settle()
	b := []byte{format}
	b = binary.AppendVarint(b, int64(f.limit.Depth))
	b = binary.AppendVarint(b, int64(f.limit.Pages))
	b = binary.AppendVarint(b, int64(f.level))
	b = append(b, bit(f.full))
	open := f.pending + len(f.taken)
	b = binary.AppendUvarint(b, uint64(len(f.seen)-open)) //nolint:gosec // a count
	for k, st := range f.seen {
		if st == finished {
			b = append(b, k[:]...)
		}
	}
	var items []byte
	for _, it := range f.taken {
		items = appendItem(items, it)
	}
	for _, q := range f.hosts {
		for _, it := range q.items[q.head:] {
			items = appendItem(items, it)
		}
	}
	for _, it := range f.next {
		items = appendItem(items, it)
	}
	b = binary.AppendUvarint(b, uint64(open)) //nolint:gosec // a count
	b = append(b, deflate(items)...)
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// Restore returns the Frontier that Snapshot wrote.
func Restore(snapshot []byte) (*Frontier, error) {
	if len(snapshot) < 5 {
		return nil, fmt.Errorf("read frontier: %w", errSnapshot)
	}
	if snapshot[0] != format {
		return nil, fmt.Errorf("read frontier: format %d is not known, only %d: it was written by another version", snapshot[0], format)
	}
	end := len(snapshot) - 4
	if crc32.ChecksumIEEE(snapshot[:end]) != binary.LittleEndian.Uint32(snapshot[end:]) {
		return nil, fmt.Errorf("read frontier: %w", errSnapshot)
	}
	d := decoder{b: snapshot[1:end]}
	f := New(Limit{Depth: int(d.varint()), Pages: int(d.varint())})
	f.level = int(d.varint())
	f.full = d.byte() == 1
	for n := d.uvarint(); n > 0 && d.err == nil; n-- {
		if k := d.take(16); k != nil {
			f.seen[key(k)] = finished
		}
	}
	n := d.uvarint()
	if d.err != nil {
		return nil, fmt.Errorf("read frontier: %w", d.err)
	}
	items, err := io.ReadAll(flate.NewReader(bytes.NewReader(d.b)))
	if err != nil {
		return nil, fmt.Errorf("read frontier: %w: %w", errSnapshot, err)
	}
	d = decoder{b: items}
	for ; n > 0 && d.err == nil; n-- {
		it := d.item()
		k := keyOf(it.URL)
		if _, dup := f.seen[k]; dup {
			d.err = errSnapshot
		}
		if d.err == nil {
			f.seen[k] = pending
			f.pending++
			f.push(it)
		}
	}
	if d.err != nil || len(d.b) > 0 {
		return nil, fmt.Errorf("read frontier: %w", errSnapshot)
	}
	return f, nil
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendItem(b []byte, it Item) []byte {
	b = appendString(b, it.URL)
	b = binary.AppendVarint(b, int64(it.Depth))
	b = binary.AppendVarint(b, int64(it.Hops))
	return appendString(b, it.Referrer)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	// Neither the level nor a bytes.Buffer can give an error.
	w, _ := flate.NewWriter(&out, flate.BestSpeed)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n uint64) []byte {
	if d.err != nil || n > uint64(len(d.b)) {
		d.err = errSnapshot
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.err = errSnapshot
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.err = errSnapshot
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) item() Item {
	var it Item
	it.URL = string(d.take(d.uvarint()))
	it.Depth = int(d.varint())
	it.Hops = int(d.varint())
	it.Referrer = string(d.take(d.uvarint()))
	return it
}
