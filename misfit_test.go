package faena_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/faena-dev/faena"
)

// pace is a time that is text in JSON.
type pace time.Duration

func (p pace) MarshalText() ([]byte, error) { return []byte(time.Duration(p).String()), nil }

func (p *pace) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	*p = pace(d)
	return err
}

type inner struct {
	Name string `json:"name"`
}

type shape struct {
	inner

	Count int           `json:"count"`
	Small int8          `json:"small,omitempty"`
	Size  uint16        `json:"size,omitempty"`
	Part  float64       `json:"part,omitempty"`
	On    bool          `json:"on,omitempty"`
	At    time.Duration `json:"at,omitempty"`
	ID    faena.ID      `json:"id,omitzero"`
	Pace  pace          `json:"pace,omitempty"`
	Names []string      `json:"names"`
	Raw   []byte        `json:"raw,omitempty"`
	Deep  *struct {
		Inner []inner `json:"inner"`
	} `json:"deep,omitempty"`
	By    map[string]inner `json:"by,omitempty"`
	Exact json.Number      `json:"exact,omitempty"`
}

type sums struct {
	Exact json.Number `json:"exact"`
	Large *big.Int    `json:"large"`
	Ratio *big.Rat    `json:"ratio"`
	When  time.Time   `json:"when"`
}

// The names of Go's types were in the messages.
func TestMisfitsInWordsOfJSON(t *testing.T) {
	t.Parallel()
	n := open(t, newLoop(0), faena.Options{})
	handle(t, n,
		faena.Define[shape, int]("shape").With(func(context.Context, shape) (int, error) { return 0, nil }),
		faena.Define[int, int]("number").With(func(context.Context, int) (int, error) { return 0, nil }),
		faena.Define[sums, int]("sums").With(func(context.Context, sums) (int, error) { return 0, nil }),
		faena.Define[[]string, int]("names").With(func(context.Context, []string) (int, error) { return 0, nil }))
	for _, c := range []struct{ task, in, want string }{
		{"shape", `[]`, `want an object such as {"name": "…", "count": 5, "names": ["…"]}, got a list`},
		{"shape", `"a"`, `want an object such as {"name": "…", "count": 5, "names": ["…"]}, got text`},
		{"shape", `{"count":"5"}`, `field "count": want a whole number, got text`},
		{"shape", `{"count":1.5}`, `field "count": want a whole number, got 1.5`},
		{"shape", `{"count":1e30}`, `field "count": want a whole number, got 1e30`},
		{"shape", `{"count":99999999999999999999}`, `field "count": want a whole number from -9223372036854775808 to 9223372036854775807, got 99999999999999999999`},
		{"shape", `{"count":` + strings.Repeat("9", 1000) + `}`, `field "count": want a whole number from -9223372036854775808 to 9223372036854775807, got ` + strings.Repeat("9", 61) + "..."},
		{"shape", `{"small":300}`, `field "small": want a whole number from -128 to 127, got 300`},
		{"shape", `{"size":-1}`, `field "size": want a whole number from 0 to 65535, got -1`},
		{"shape", `{"part":"x"}`, `field "part": want a number, got text`},
		{"shape", `{"on":1}`, `field "on": want true or false, got a number`},
		{"shape", `{"at":"1s"}`, `field "at": want a whole number of nanoseconds, got text`},
		{"shape", `{"id":5}`, `field "id": want text, got a number`},
		{"shape", `{"pace":5}`, `field "pace": want text such as "1m30s", got a number`},
		{"shape", `{"name":true}`, `field "name": want text, got true or false`},
		{"shape", `{"names":"x"}`, `field "names": want a list, got text`},
		{"shape", `{"raw":5}`, `field "raw": want text in base64, got a number`},
		{"shape", `{"deep":[]}`, `field "deep": want an object, got a list`},
		{"shape", `{"deep":{"inner":[{"name":{}}]}}`, `field "deep.inner.name": want text, got an object`},
		{"shape", `{"by":5}`, `field "by": want an object, got a number`},
		{"shape", `{"exact":true}`, `field "exact": want a number, got true or false`},
		{"sums", `[]`, `want an object such as {"exact": 5, "large": 5, "ratio": "…", "when": "…"}, got a list`},
		{"number", `"1"`, "want a whole number, got text"},
		{"names", `{}`, "want a list, got an object"},
		{"names", `[5]`, "want text, got a number"},
	} {
		_, err := n.Submit(t.Context(), c.task, json.RawMessage(c.in))
		wantCode(t, "Submit("+c.in+")", err, faena.CodeInput)
		if err == nil || !strings.HasSuffix(err.Error(), ": "+c.want) {
			t.Errorf("Submit(%s, %s) = %v, want %q at its end", c.task, c.in, err, c.want)
		}
	}
}

// An input that a task's check refuses is not stored.
func TestCheckedInputs(t *testing.T) {
	t.Parallel()
	l := newLoop(0)
	n := open(t, l, faena.Options{})
	handle(t, n, faena.Define[int, int]("even").WithCheck(
		func(_ context.Context, v int) (int, error) { return v, nil },
		func(v int) error {
			if v%2 != 0 {
				return errors.New("it is odd")
			}
			return nil
		}))
	for in, want := range map[string]string{"2": "", "3": "it is odd", `"x"`: "want a whole number, got text"} {
		_, err := n.Submit(t.Context(), "even", json.RawMessage(in))
		if want == "" {
			if err != nil {
				t.Errorf("Submit(%s) = %v, want nil", in, err)
			}
			continue
		}
		wantCode(t, "Submit("+in+")", err, faena.CodeInput)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Submit(%s) = %v, want %q in it", in, err, want)
		}
	}
	_, err := n.SubmitBatch(t.Context(), "even", []json.RawMessage{json.RawMessage("2"), json.RawMessage("3")})
	wantCode(t, "SubmitBatch(2, 3)", err, faena.CodeInput)
}
