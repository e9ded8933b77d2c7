package faena //nolint:testpackage // what it tests is not to be seen from outside

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Deep map[string][]float64 `json:"deep,omitempty"`
}

// everything has a field for each way in which encoding/json decodes.
type everything struct {
	inner

	Text    string          `json:"text"`
	Quoted  int             `json:"quoted,string"`
	Small   int8            `json:"small"`
	Count   uint64          `json:"count"`
	Real    float32         `json:"real"`
	Flag    *bool           `json:"flag"`
	Bytes   []byte          `json:"bytes"`
	Pair    [2]int          `json:"pair"`
	Number  json.Number     `json:"number"`
	Raw     json.RawMessage `json:"raw"`
	Any     any             `json:"any"`
	Took    time.Duration   `json:"took"`
	At      time.Time       `json:"at"`
	Addr    netip.Addr      `json:"addr"`
	ByID    map[int]string  `json:"by_id"`
	Next    *everything     `json:"next"`
	Ignored string          `json:"-"`
	NoTag   string
}

// FuzzDecode holds decode against encoding/json: the same value, or the same error.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		``, `null`, `{}`, `[]`, `7`, `{"text":"a","TEXT":"b","Text":"c"}`, `{"text":"\ud800","notag":"x","NOTAG":"y"}`, "{\"text\":\"\xff\"}",
		`{"quoted":"12"}`, `{"quoted":12}`, `{"small":128}`, `{"small":1e1}`, `{"count":18446744073709551615}`, `{"count":-1}`, `{"real":1e39}`,
		`{"flag":null}`, `{"flag":true,"flag":false}`, `{"bytes":"aGk="}`, `{"bytes":[104,105]}`, `{"bytes":"?"}`, `{"pair":[1]}`, `{"pair":[1,2,3]}`,
		`{"number":1.50}`, `{"number":"1.50"}`, `{"number":"x"}`, `{"number":""}`, `{"number":null}`, `{"raw": {"a" : 1 } }`, `{"any":[1,{"a":1,"a":2},null,"x",1e400]}`,
		`{"took":1500}`, `{"took":"1s"}`, `{"at":"2026-11-26T20:00:00Z"}`, `{"at":"later"}`, `{"addr":"::1"}`, `{"by_id":{"1":"a","x":"b"}}`,
		`{"next":{"next":{"deep":{"a":[1,2]}}},"unknown":{"x":[]}}`, `{"text":"a"} x`, `{"text":"a"`, `{"text":1,"small":1}`, `{"deep":{"a":null}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, want everything
		gotErr, wantErr := decode(b, &got), decodeOver(b, &want)
		// decode says of more errors where they are
		if (gotErr == nil) != (wantErr == nil) || gotErr != nil && !strings.HasSuffix(gotErr.Error(), wantErr.Error()) {
			t.Fatalf("decode %q: error %v, encoding/json says %v", b, gotErr, wantErr)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(everything{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Fatalf("decode %q (-encoding/json +decode):\n%s", b, d)
		}
	})
}

func TestDecodeNamesTheField(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"at":"later"}`:                    `field "at": parsing time "later"`,
		`{"next":{"addr":"?"}}`:             `field "next.addr": ParseAddr`,
		`{"bytes":"?"}`:                     `field "bytes": illegal base64`,
		`{"quoted":"x"}`:                    `field "quoted": `,
		`{"number":"x"}`:                    `field "number": `,
		`{"next":{"small":128}}`:            `field "next.small": want a whole number from -128 to 127`,
		`{"deep":{"a":[1,"x"]},"text":"a"}`: `field "deep`,
		`{"text":`:                          `unexpected end of JSON input`,
	} {
		var v everything
		if err := decode([]byte(in), &v); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("decode %s = %v, want %s", in, err, want)
		}
	}
}
