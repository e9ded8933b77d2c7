// Package faena runs background work durably: typed tasks with futures, retries
// and schedules, on an embedded NATS JetStream.
package faena
