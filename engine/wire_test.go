package engine_test

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/faena-dev/faena/engine"
)

func fullRun() engine.Run {
	return engine.Run{
		ID: engine.ID{1, 2}, Queue: "q", Task: "t", Rev: math.MaxUint32, Attempt: math.MaxUint16, Deaths: 255,
		Doubt: true, Detached: true, At: -1, Deadline: math.MaxInt64, Timeout: time.Hour,
		Retry: engine.Retry{Attempts: 7, Base: time.Second, Cap: time.Minute}, Keep: [2]uint32{1, math.MaxUint32},
		Parent: engine.ID{3}, RetryOf: engine.ID{4}, Trace: "00-x", Tags: []engine.Tag{{Key: "a", Value: ""}, {Key: "b", Value: "c"}},
		Failure: &engine.Failure{Code: engine.CodePanic, Message: "m", Stack: "s"}, Input: engine.Value{Data: []byte("{}")},
	}
}

func fullRecord() engine.Record {
	return engine.Record{
		ID: engine.ID{1, 2}, State: engine.Failed, Queue: "q", Task: "t", Rev: 5, Attempt: 3, Deaths: 2, Keep: 9,
		Start: 1700000000000, End: 1700000000001, Src: 2, SrcSeq: math.MaxUint64, Parent: engine.ID{3}, RetryOf: engine.ID{4},
		Tags: []engine.Tag{{Key: "a", Value: "b"}}, Failure: &engine.Failure{Code: engine.CodeFailed, Message: "m"},
		Output: engine.Value{Data: []byte("1")},
	}
}

func TestRunsSurviveTheWire(t *testing.T) {
	t.Parallel()
	apart := fullRun()
	apart.Input = engine.Value{Apart: true, Size: 1 << 40}
	want := []engine.Run{fullRun(), {}, apart, {ID: engine.ID{5}, Parent: engine.ID{6}, At: 3}}
	var msg []byte
	for i := range want {
		msg = engine.AppendRun(msg, &want[i])
	}
	got, d := []engine.Run(nil), engine.Decoder{}
	err := engine.Frames(msg, func(body []byte, off int) error {
		var r engine.Run
		if at, err := engine.FrameAt(msg, off); err != nil || !bytes.Equal(at, body) {
			t.Errorf("FrameAt(%d) = %x, %v, want %x", off, at, err, body)
		}
		err := d.Run(body, &r)
		got = append(got, r)
		return err
	})
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("Frames = %v (-want +got)\n%s", err, diff)
	}
}

func TestRecordsSurviveTheWire(t *testing.T) {
	t.Parallel()
	apart := fullRecord()
	apart.Output = engine.Value{Apart: true, Size: 1 << 40}
	want := []engine.Record{fullRecord(), {}, apart, {RetryOf: engine.ID{6}, Start: 5}}
	var msg []byte
	for i := range want {
		msg = engine.AppendRecord(msg, &want[i])
	}
	got, d := []engine.Record(nil), engine.Decoder{}
	err := engine.Frames(msg, func(body []byte, _ int) error {
		var r engine.Record
		err := d.Record(body, &r)
		got = append(got, r)
		return err
	})
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("Frames = %v (-want +got)\n%s", err, diff)
	}
}

func TestFieldsOfALaterProgramAreIgnored(t *testing.T) {
	t.Parallel()
	run, rec := fullRun(), fullRecord()
	for what, fn := range map[string]func() error{
		"envelope": func() error {
			var d engine.Decoder
			var got engine.Run
			return errors.Join(engine.Frames(engine.AppendRun(nil, &run), func(b []byte, _ int) error { return d.Run(append(bytes.Clone(b), 9, 9, 9), &got) }), differ(run, got))
		},
		"record": func() error {
			var d engine.Decoder
			var got engine.Record
			return errors.Join(engine.Frames(engine.AppendRecord(nil, &rec), func(b []byte, _ int) error { return d.Record(append(bytes.Clone(b), 9, 9, 9), &got) }), differ(rec, got))
		},
	} {
		if err := fn(); err != nil {
			t.Errorf("%s with more fields: %v", what, err)
		}
	}
}

func differ(want, got any) error {
	if d := cmp.Diff(want, got); d != "" {
		return errors.New(d)
	}
	return nil
}

func TestFramesRefuse(t *testing.T) {
	t.Parallel()
	run := fullRun()
	msg := engine.AppendRun(nil, &run)
	none := func([]byte, int) error { return nil }
	for n := range len(msg) {
		if n == 1 { // a message without frames
			continue
		}
		if err := engine.Frames(msg[:n], none); err == nil {
			t.Errorf("Frames of the first %d bytes of %d = nil, want an error", n, len(msg))
		}
	}
	var d engine.Decoder
	for n := range len(msg) - 5 {
		if err := d.Run(msg[5:5+n], new(engine.Run)); err == nil {
			t.Errorf("Run of the first %d bytes of %d = nil, want an error", n, len(msg)-5)
		}
	}
	newer := bytes.Clone(msg)
	newer[0] = engine.WireVersion + 1
	if err := engine.Frames(newer, none); engine.CodeOf(err) != engine.CodeVersion {
		t.Errorf("Frames of a newer version = %v, want code version", err)
	}
	for _, off := range []int{-1, 0, len(msg)} {
		if _, err := engine.FrameAt(msg, off); err == nil {
			t.Errorf("FrameAt(%d) = nil, want an error", off)
		}
	}
	stop := errors.New("stop")
	if err := engine.Frames(msg, func([]byte, int) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Frames = %v, want fn's error", err)
	}
}

// Decoding never panics, and what it understands it writes and reads again.
func FuzzWire(f *testing.F) {
	run, rec := fullRun(), fullRecord()
	f.Add(engine.AppendRun(nil, &run))
	f.Add(engine.AppendRecord(nil, &rec))
	f.Add([]byte{engine.WireVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, msg []byte) {
		for off := range min(len(msg), 50) {
			_, _ = engine.FrameAt(msg, off) // must not panic
		}
		var d engine.Decoder
		_ = engine.Frames(msg, func(body []byte, _ int) error {
			var r, again engine.Run
			if d.Run(body, &r) == nil {
				err := engine.Frames(engine.AppendRun(nil, &r), func(b []byte, _ int) error { return d.Run(b, &again) })
				if diff := cmp.Diff(r, again, cmpopts.EquateEmpty()); diff != "" || err != nil {
					t.Errorf("a run read again: %v (-first +again)\n%s", err, diff)
				}
			}
			var c, cagain engine.Record
			if d.Record(body, &c) == nil {
				err := engine.Frames(engine.AppendRecord(nil, &c), func(b []byte, _ int) error { return d.Record(b, &cagain) })
				if diff := cmp.Diff(c, cagain, cmpopts.EquateEmpty()); diff != "" || err != nil {
					t.Errorf("a record read again: %v (-first +again)\n%s", err, diff)
				}
			}
			return nil
		})
	})
}
