package natsengine

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/faena-dev/faena/engine"
)

// Names of streams and subjects. Streams: one per queue, and those below.
// Subjects never hold a run's id where runs are many.
const (
	prefix          = "faena"
	streamQueue     = "FAENA_Q_" // and the queue's token
	streamLog       = "FAENA_LOG"
	streamDelayed   = "FAENA_DELAYED"
	streamStage     = "FAENA_STAGE"
	streamFailed    = "FAENA_FAILED"
	streamRetried   = "FAENA_RETRIED"
	streamCancelled = "FAENA_CANCELLED"
	streamHome      = "FAENA_HOME"
	streamSaved     = "FAENA_SAVED" // checkpoints
	bucketObjects   = "FAENA_VALUES"
	streamObjects   = "OBJ_" + bucketObjects

	subjectLog       = prefix + ".log.0"
	subjectStage     = prefix + ".stage." // batch
	subjectFailed    = prefix + ".failed"
	subjectRetried   = prefix + ".retried"
	subjectCancelled = prefix + ".cancelled." // run
	subjectHome      = prefix + ".home."      // run
	subjectSaved     = prefix + ".saved."     // run

	subjectHolder = prefix + ".holder." // requests to a process with an index
	subjectMark   = prefix + ".mark"    // log sequence on disk, core message
	subjectSpace  = prefix + ".space"   // why no run is accepted, core message
	subjectBeat   = prefix + ".beat"    // heartbeats of nodes, core messages
	subjectPace   = prefix + ".pace"    // how long tasks take, core messages
	subjectKick   = prefix + ".kick"    // tells workers to ask a queue for messages again
)

// Which stream a message stood in, as records and the index name it.
const (
	srcQueue uint8 = iota + 1
	srcDue
	srcParked
	srcHome
	srcLog
	srcFailed
	srcDelayed
	srcStage
)

// token makes a name safe as one token of a subject or a part of a stream's
// name: letters, digits, - and _ stay, other bytes become %XX.
func token(name string) string {
	if name == "" { // no name of ours; but a subject with an empty token cannot be published to
		return "%"
	}
	plain := true
	for i := range len(name) {
		if !safe(name[i]) {
			plain = false
		}
	}
	if plain {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; safe(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteString(strings.ToUpper(strconv.FormatUint(uint64(c)+0x100, 16)[1:]))
		}
	}
	return b.String()
}

func untoken(t string) string {
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		if t[i] == '%' && i+2 < len(t) {
			if v, err := strconv.ParseUint(t[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(t[i])
	}
	return b.String()
}

func safe(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func queueStream(queue string) string  { return streamQueue + token(queue) }
func queueSubject(queue string) string { return prefix + ".q." + token(queue) + ".1" }
func dueSubject(queue string) string   { return prefix + ".d.due." + token(queue) }

// parkSubjects is what the subjects of a queue's parked runs begin with.
func parkSubjects(queue string) string { return prefix + ".d.park." + token(queue) + "." }

func parkSubject(queue, task string) string { return parkSubjects(queue) + token(task) }

func delayedSubject(queue string, id engine.ID, rev uint32) string {
	return prefix + ".d.at." + token(queue) + "." + id.String() + "." + strconv.FormatUint(uint64(rev), 10)
}

// Durable consumers.
func queueConsumer() string           { return "work" }
func dueConsumer(queue string) string { return "due_" + token(queue) }

// maxConsumer is how long the server lets a consumer's name be.
const maxConsumer = 255

// parkConsumer has both names in its own, or a sum of them where that would be too
// long: a name of dots only is three times as long as a token.
func parkConsumer(q, task string) string {
	name := "park_" + token(q) + "_" + token(task)
	if len(name) <= maxConsumer {
		return name
	}
	sum := sha256.Sum256([]byte(q + "\x00" + task)) // which is in no name
	return "park_%" + hex.EncodeToString(sum[:])
}
