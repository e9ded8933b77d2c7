package embedded

import (
	"fmt"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// mendDeliveries drops what the server noted of deliveries where it cannot read
// it: it does without the consumer then, and lets nobody make it anew. As after a
// power cut, what stands in the queues is delivered again, and asked about.
func (e *Engine) mendDeliveries() error {
	bad, err := e.unread()
	if err != nil || len(bad) == 0 {
		return err
	}
	e.log.Warn("what was noted of deliveries is damaged: check the disk; it is dropped, and what stands in the queues is asked about before it starts", "files", bad)
	if err := stopServer(e.srv.Swap(nil), stopTime); err != nil {
		return err
	}
	if err := drop(bad); err != nil {
		return err
	}
	e.dir.clean = false // nobody knows what had been delivered
	return e.startServer()
}

// unread are the files of consumers that the server has not restored.
func (e *Engine) unread() ([]string, error) {
	names, err := e.dir.deliveries()
	if err != nil || len(names) == 0 {
		return nil, err
	}
	all, err := e.srv.Load().Jsz(&server.JSzOptions{Consumer: true})
	if err != nil {
		return nil, fmt.Errorf("ask the embedded server for its consumers: %w", err)
	}
	type consumer struct{ stream, name string }
	streams, restored := map[string]bool{}, map[consumer]bool{}
	for _, a := range all.AccountDetails {
		for _, s := range a.Streams {
			streams[s.Name] = true
			for _, c := range s.Consumer {
				restored[consumer{s.Name, c.Name}] = true
			}
		}
	}
	var bad []string
	for _, file := range names {
		dir := filepath.Dir(file)
		c := consumer{filepath.Base(filepath.Dir(filepath.Dir(dir))), filepath.Base(dir)}
		if streams[c.stream] && !restored[c] { // of a stream that is not there nothing is known
			bad = append(bad, file)
		}
	}
	return bad, nil
}
