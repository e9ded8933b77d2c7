package faena

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
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
		return nil, lasting(CodePermanent, fmt.Errorf("encode output of %s: %w", task, err))
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
		return in, lasting(CodeInput, fmt.Errorf("decode input of %s: %w", task, err))
	}
	return in, nil
}

// decode reads JSON into the zero value that v points to, as decodeOver would.
// Until encoding/json is built on its second version, as it is from Go 1.27, that
// version, by the same authors, does it in well under half the time. What it
// refuses is decoded again by the first, whose errors people know.
func decode(b []byte, v any) error {
	if raw, ok := v.(*json.RawMessage); ok && len(b) > 0 { // it was checked when it was encoded
		*raw = bytes.Clone(b)
		return nil
	}
	refused := jsonv2.Unmarshal(b, v, likeV1)
	if refused == nil {
		return nil
	}
	reflect.ValueOf(v).Elem().SetZero() // of which a part may have been set
	err := decodeOver(b, v)
	if _, named := errors.AsType[*misfitError](err); err == nil || named {
		return err
	}
	if at, ok := errors.AsType[*jsonv2.SemanticError](refused); ok && at.JSONPointer != "" { // the first version does not say where
		return fmt.Errorf("field %q: %w", strings.Join(slices.Collect(at.JSONPointer.Tokens()), "."), err)
	}
	return err
}

// decodeOver reads JSON into what v points to; what the JSON has not stays.
func decodeOver(b []byte, v any) error {
	if len(b) == 0 {
		b = []byte("null")
	}
	err := json.Unmarshal(b, v)
	if bad, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return misfit(bad, reflect.TypeOf(v))
	}
	return err
}

// likeV1 makes jsonv2 do as encoding/json does, but for errors, which are not
// looked for in all of the JSON first. It has a number type of its own; the one
// that users know goes the slow way.
var likeV1 = jsonv2.JoinOptions(jsonv1.DefaultOptionsV1(), jsonv1.ReportErrorsWithLegacySemantics(false), jsonv2.WithUnmarshalers( //nolint:gochecknoglobals // set once; to make it costs as much as to decode
	jsonv2.UnmarshalFunc(func([]byte, *json.Number) error { return errNumber }),
))

var errNumber = errors.New("a json.Number is for encoding/json")
