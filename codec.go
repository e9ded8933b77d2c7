package faena

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// encodeInput is a task's input as JSON.
func encodeInput(task string, v any) ([]byte, error) {
	b, err := encode(v)
	if err != nil {
		return nil, &Error{Code: CodeInput, Op: "encode input of " + task, Err: err}
	}
	return b, nil
}

// encodeOutput is a handler's output as JSON. One that does not encode would not
// the next time either.
func encodeOutput(task string, v any) ([]byte, error) {
	b, err := encode(v)
	if err != nil {
		return nil, &fault{code: CodePermanent, permanent: true, err: fmt.Errorf("encode output of %s: %w", task, err)}
	}
	return b, nil
}

func encode(v any) ([]byte, error) {
	raw, ok := v.(json.RawMessage)
	if !ok {
		return json.Marshal(v)
	}
	if len(raw) == 0 {
		return []byte("null"), nil
	}
	if !json.Valid(raw) {
		return nil, errors.New("it is not JSON")
	}
	return bytes.Clone(raw), nil
}

// decodeInput reads an input; the error names the field that does not fit.
func decodeInput[In any](task string, b []byte) (in In, err error) {
	if err := decode(b, &in); err != nil {
		return in, &fault{code: CodeInput, permanent: true, err: fmt.Errorf("decode input of %s: %w", task, err)}
	}
	return in, nil
}

func decode(b []byte, v any) error {
	if len(b) == 0 {
		b = []byte("null")
	}
	if raw, ok := v.(*json.RawMessage); ok { // it was checked when it was encoded
		*raw = bytes.Clone(b)
		return nil
	}
	err := json.Unmarshal(b, v)
	if bad, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return misfit(bad, reflect.TypeOf(v))
	}
	return err
}
