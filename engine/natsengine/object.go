package natsengine

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/faena-dev/faena/engine"
)

// maxValue is the largest input, output or checkpoint.
const maxValue = 1 << 30

// objects keeps large values apart from envelopes and records, in an object
// store. A value is written before the message that names it.
type objects struct {
	e     *Engine
	mu    sync.Mutex
	store jetstream.ObjectStore
	spent spent
}

// objectName is unique, so that an attempt whose record comes too late does not
// change the value that another's names.
func (e *Engine) objectName(id engine.ID, kind string) string {
	return id.String() + "." + kind + "." + e.ids.New().String()
}

func (o *objects) create(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s, err := js.ObjectStore(ctx, bucketObjects)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		s, err = js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: bucketObjects})
	}
	if err != nil {
		return fmt.Errorf("open the store of large values: %w", unavailable(err))
	}
	o.mu.Lock()
	o.store = s
	o.mu.Unlock()
	return nil
}

func (o *objects) bucket() jetstream.ObjectStore {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.store
}

// put stores a value under a new name.
func (o *objects) put(ctx context.Context, name string, data []byte) (engine.Value, error) {
	if len(data) > maxValue {
		return engine.Value{}, &engine.Error{Code: engine.CodeTooLarge, Err: fmt.Errorf("a value of %d bytes is over the limit of %d: store it elsewhere and pass its address", len(data), maxValue)}
	}
	err := o.e.hooked(engine.WriteObject, func() error { return o.write(ctx, name, data) })
	if err != nil {
		return engine.Value{}, fmt.Errorf("store large value %s: %w", name, unavailable(err))
	}
	return engine.Value{Apart: true, Size: int64(len(data)), Name: name}, nil
}

// chunkSize is the library's.
const chunkSize = 128 << 10

// write stores a value as the library's Put would, chunks first, but under its
// name: by that a value is deleted, and swept if it was never whole. That one, as
// its Get, may leave a goroutine behind if the connection closes meanwhile.
func (o *objects) write(ctx context.Context, name string, data []byte) error {
	sum := sha256.Sum256(data)
	i := jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}},
		Bucket:     bucketObjects, NUID: name, Size: uint64(len(data)), Digest: digest(sum),
	}
	for part := range slices.Chunk(data, chunkSize) {
		if _, err := o.e.js.Publish(ctx, chunkSubject(i.NUID), part); err != nil {
			return err
		}
		i.Chunks++
	}
	meta, err := json.Marshal(i)
	if err != nil {
		return err
	}
	_, err = o.e.js.PublishMsg(ctx, &nats.Msg{
		Subject: underMeta + base64.URLEncoding.EncodeToString([]byte(name)),
		Header:  nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}, Data: meta,
	})
	return err
}

// Subjects of values.
const (
	underMeta   = "$O." + bucketObjects + ".M."
	underChunks = "$O." + bucketObjects + ".C."
)

func chunkSubject(nuid string) string { return underChunks + nuid }

func digest(sum [sha256.Size]byte) string {
	return "SHA-256=" + base64.URLEncoding.EncodeToString(sum[:])
}

// get reads a value chunk by chunk.
func (o *objects) get(ctx context.Context, name string) ([]byte, error) {
	gone := &engine.Error{Code: engine.CodeNotFound, Err: fmt.Errorf("large value %s is gone: its retention has passed", name)}
	i, err := o.bucket().GetInfo(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("read large value %s: %w", name, unavailable(err))
	}
	chunks, err := o.e.batchGet(ctx, streamObjects, chunkSubject(i.NUID), 1, int(i.Chunks))
	if err != nil {
		return nil, fmt.Errorf("read large value %s: %w", name, err)
	}
	if len(chunks) < int(i.Chunks) { // deleted meanwhile
		return nil, gone
	}
	b := make([]byte, 0, i.Size)
	for _, c := range chunks {
		b = append(b, c.data...)
	}
	if got := digest(sha256.Sum256(b)); got != i.Digest {
		return nil, &engine.Error{Code: engine.CodeInternal, Err: fmt.Errorf("large value %s is damaged: its digest is %s, want %s", name, got, i.Digest)}
	}
	return b, nil
}

// value is v's bytes, fetched if they are apart.
func (o *objects) value(ctx context.Context, v engine.Value) ([]byte, error) {
	if !v.Apart {
		return v.Data, nil
	}
	return o.get(ctx, v.Name)
}
