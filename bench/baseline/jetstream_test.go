package baseline_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	payload = 100   // bytes of one message
	window  = 4_096 // publishes under way at a time
	patient = 30 * time.Second
)

// open starts a server in this process, without a socket, with a file stream on
// the subject "raw" and the server's own sync settings.
func open(b *testing.B) jetstream.JetStream {
	b.Helper()
	srv, err := server.NewServer(&server.Options{
		JetStream:  true,
		StoreDir:   dir(b),
		DontListen: true,
		NoSigs:     true,
	})
	if err != nil {
		b.Fatal(err)
	}
	srv.Start()
	b.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patient) {
		b.Fatalf("server not ready in %s", patient)
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(window))
	if err != nil {
		b.Fatal(err)
	}
	_, err = js.CreateStream(b.Context(), jetstream.StreamConfig{
		Name:     "RAW",
		Subjects: []string{"raw"},
		Storage:  jetstream.FileStorage,
	})
	if err != nil {
		b.Fatal(err)
	}
	return js
}

// BenchmarkPublishAsync is one caller with a window of publishes under way: each
// message written to the operating system and acknowledged, none synced to disk.
func BenchmarkPublishAsync(b *testing.B) {
	js := open(b)
	msg := make([]byte, payload)
	start := time.Now()
	for b.Loop() {
		if _, err := js.PublishAsync("raw", msg); err != nil {
			b.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-b.Context().Done():
		b.Fatal(b.Context().Err())
	}
	// With the last acknowledgements, which the timer of Loop leaves out.
	spent := time.Since(start)
	if got, want := stored(b, js), uint64(b.N); got != want {
		b.Fatalf("stored %d messages, want %d", got, want)
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/op")
	b.ReportMetric(float64(b.N)/spent.Seconds(), "msgs/s")
}

// BenchmarkPublish is one caller that waits for each acknowledgement.
func BenchmarkPublish(b *testing.B) {
	js := open(b)
	msg := make([]byte, payload)
	for b.Loop() {
		if _, err := js.Publish(b.Context(), "raw", msg); err != nil {
			b.Fatal(err)
		}
	}
}

// stored returns how many messages the stream holds.
func stored(b *testing.B, js jetstream.JetStream) uint64 {
	b.Helper()
	str, err := js.Stream(b.Context(), "RAW")
	if err != nil {
		b.Fatal(err)
	}
	return str.CachedInfo().State.Msgs
}
