package natsengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

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
	err := o.e.hooked(engine.WriteObject, func() error {
		_, err := o.bucket().Put(ctx, jetstream.ObjectMeta{Name: name}, bytes.NewReader(data))
		return err
	})
	if err != nil {
		return engine.Value{}, fmt.Errorf("store large value %s: %w", name, unavailable(err))
	}
	return engine.Value{Apart: true, Size: int64(len(data)), Name: name}, nil
}

func (o *objects) get(ctx context.Context, name string) ([]byte, error) {
	b, err := o.bucket().GetBytes(ctx, name)
	if err != nil {
		if errors.Is(err, jetstream.ErrObjectNotFound) {
			return nil, &engine.Error{Code: engine.CodeNotFound, Err: fmt.Errorf("large value %s is gone: its retention has passed", name)}
		}
		return nil, fmt.Errorf("read large value %s: %w", name, unavailable(err))
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
