package engine_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/faena-dev/faena/engine"
)

// anyRun makes a run of which each field may be zero, small or large.
func anyRun(r *rand.Rand) engine.Run {
	num := func() uint64 {
		return [...]uint64{0, r.Uint64N(200), r.Uint64(), math.MaxUint64}[r.IntN(4)]
	}
	text := func() string {
		return [...]string{"", "a", strings.Repeat("é", r.IntN(200))}[r.IntN(3)]
	}
	id := func() (id engine.ID) {
		if r.IntN(2) == 0 {
			for i := range id {
				id[i] = byte(r.UintN(256))
			}
		}
		return id
	}
	yes := func() bool { return r.IntN(2) == 0 }
	run := engine.Run{
		ID: id(), Queue: text(), Task: text(), Rev: uint32(num()), Attempt: uint16(num()), Deaths: uint8(num()),
		Doubt: yes(), Detached: yes(), At: int64(num()), Deadline: int64(num()), Timeout: time.Duration(num()),
		Retry: engine.Retry{Attempts: uint16(num()), Base: time.Duration(num()), Cap: time.Duration(num())},
		Keep:  [2]uint32{uint32(num()), uint32(num())}, Parent: id(), RetryOf: id(), Trace: text(),
		Input: engine.Value{Data: []byte(text())},
	}
	for range r.IntN(4) {
		run.Tags = append(run.Tags, engine.Tag{Key: text(), Value: text()})
	}
	if yes() {
		run.Failure = &engine.Failure{Code: engine.Code(text()), Message: text(), Stack: text()}
	}
	if yes() {
		run.Input = engine.Value{Apart: true, Size: int64(num()), Name: text()}
	}
	return run
}

// bodies are the frames of a message.
func bodies(t *testing.T, msg []byte) [][]byte {
	t.Helper()
	var out [][]byte
	if err := engine.Frames(msg, func(body []byte, _ int) error {
		out = append(out, body)
		return nil
	}); err != nil {
		t.Errorf("Frames = %v", err)
	}
	return out
}

// next is what AppendNext is to make of a run.
func next(r engine.Run, doubt, died bool) engine.Run {
	r.Rev++
	r.Doubt = r.Doubt || doubt
	if died && r.Deaths < 255 {
		r.Deaths++
	}
	return r
}

func TestNextIsTheSameRunOfTheNextRevision(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		runs := make([]engine.Run, 1+r.IntN(4))
		var msg []byte
		for i := range runs {
			runs[i] = anyRun(r)
			msg = engine.AppendRun(msg, &runs[i])
		}
		var want []engine.Run
		var again []byte
		for i, body := range bodies(t, msg) {
			doubt, died := r.IntN(2) == 0, r.IntN(2) == 0
			was := bytes.Clone(body)
			var err error
			if again, err = engine.AppendNext(again, body, doubt, died); err != nil {
				t.Fatalf("seed %d: AppendNext(%+v) = %v", seed, runs[i], err)
			}
			if !bytes.Equal(body, was) {
				t.Errorf("seed %d: AppendNext changed what it was given", seed)
			}
			want = append(want, next(runs[i], doubt, died))
		}
		var got []engine.Run
		var d engine.Decoder
		for _, body := range bodies(t, again) {
			var run engine.Run
			if err := d.Run(body, &run); err != nil {
				t.Fatalf("seed %d: Run of what AppendNext wrote = %v", seed, err)
			}
			got = append(got, run)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d: AppendNext (-want +got)\n%s", seed, diff)
		}
	}
}

func TestNextKeepsFieldsOfALaterProgram(t *testing.T) {
	t.Parallel()
	run := fullRun()
	more := []byte{9, 8, 7}
	body := append(bytes.Clone(bodies(t, engine.AppendRun(nil, &run))[0]), more...)
	msg, err := engine.AppendNext(nil, body, false, false)
	if err != nil {
		t.Fatalf("AppendNext = %v", err)
	}
	if got := bodies(t, msg)[0]; !bytes.HasSuffix(got, more) {
		t.Errorf("AppendNext wrote %x, want %x at its end", got, more)
	}
}

func TestNextRefusesWhatEndsInItsHead(t *testing.T) {
	t.Parallel()
	run := engine.Run{ID: engine.ID{1}, Queue: "queue", Task: "task", Rev: 300}
	body := bodies(t, engine.AppendRun(nil, &run))[0]
	head := len(run.ID) + 1 + len(run.Queue) + 1 + len(run.Task) + 1 + 2 // the flags, and a revision of two bytes
	before := engine.AppendRun(nil, &run)
	for n := range head {
		b, err := engine.AppendNext(bytes.Clone(before), body[:n], true, true)
		if err == nil || !bytes.Equal(b, before) {
			t.Errorf("AppendNext of the first %d bytes of %d = %v and %x, want an error and the message as it was", n, len(body), err, b)
		}
	}
}

// Whatever the body is, AppendNext makes of it what reading and writing it would,
// and does not panic.
func FuzzNext(f *testing.F) {
	run := fullRun()
	msg := engine.AppendRun(nil, &run)
	f.Add(msg[5:], true, true)
	f.Add(msg[5:30], false, false)
	f.Add([]byte("0123456789abcdef\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), true, false)
	f.Fuzz(func(t *testing.T, body []byte, doubt, died bool) {
		before := []byte{engine.WireVersion}
		b, err := engine.AppendNext(before, body, doubt, died)
		var d engine.Decoder
		var was, is engine.Run
		bad := d.Run(body, &was)
		if err != nil {
			if bad == nil || !bytes.Equal(b, before) {
				t.Errorf("AppendNext = %v and %x, Run = %v: want the message as it was, of what cannot be read only", err, b, bad)
			}
			return
		}
		frames := bodies(t, b)
		if len(frames) != 1 {
			t.Fatalf("AppendNext wrote %d frames, want 1", len(frames))
		}
		err = d.Run(frames[0], &is)
		if (err == nil) != (bad == nil) {
			t.Fatalf("Run = %v before AppendNext, %v after it", bad, err)
		}
		if diff := cmp.Diff(next(was, doubt, died), is, cmpopts.EquateEmpty()); bad == nil && diff != "" {
			t.Errorf("AppendNext (-want +got)\n%s", diff)
		}
	})
}
