package engine

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// ID names a run: 48 bits of unix milliseconds, 16 of the log shard, 64 that
// make it unique. Ids order as their times do, to list by and for nothing else.
type ID [16]byte

// IDs makes ids that are unique among all processes. The zero value is not
// usable; see NewIDs.
type IDs struct {
	nonce [4]byte
	n     atomic.Uint32
}

// NewIDs seeds a source of ids.
func NewIDs() *IDs {
	s := new(IDs)
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	copy(s.nonce[:], b[:])
	s.n.Store(binary.BigEndian.Uint32(b[4:]))
	return s
}

// New is the next id, of the time now.
func (s *IDs) New() (id ID) {
	id.setTime(time.Now().UnixMilli())
	binary.BigEndian.PutUint32(id[8:], s.n.Add(1))
	copy(id[12:], s.nonce[:])
	return id
}

func (id *ID) setTime(ms int64) {
	binary.BigEndian.PutUint64(id[:], uint64(ms)<<16) //nolint:gosec // a time after 1970
}

// Derive is the id of a parent's child: the same parent and parts give the same
// id, in the parent's time and shard.
func (id ID) Derive(parts ...string) (child ID) {
	h := sha256.New()
	h.Write(id[:])
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	copy(child[:8], id[:8])
	copy(child[8:], h.Sum(nil))
	return child
}

// Time is when the id was made, by the clock of the process that made it.
func (id ID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:]) >> 16))
}

// IsZero tells whether the id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// Crockford's base 32, lower case: safe in subjects, URLs and file names.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

func encoding() *base32.Encoding {
	return base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)
}

// String is the id in 26 characters that sort as ids do.
func (id ID) String() string { return encoding().EncodeToString(id[:]) }

// MarshalText is String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID; empty text is the zero id.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	v, err := ParseID(string(b))
	*id = v
	return err
}

// ParseID reads what String wrote, in any case.
func ParseID(s string) (id ID, err error) {
	if len(s) != 26 {
		return id, &Error{Code: CodeInvalid, Op: "read id", Err: fmt.Errorf("%q is not a run id: want 26 letters and digits", s)}
	}
	if _, err := encoding().Decode(id[:], []byte(strings.ToLower(s))); err != nil {
		return ID{}, &Error{Code: CodeInvalid, Op: "read id", Err: fmt.Errorf("%q is not a run id", s)}
	}
	if id.String() != strings.ToLower(s) { // the last character has bits to spare
		return ID{}, &Error{Code: CodeInvalid, Op: "read id", Err: fmt.Errorf("%q is not a run id", s)}
	}
	return id, nil
}
