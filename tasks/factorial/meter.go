package factorial

import (
	"strings"
	"sync"
	"time"
)

// meter puts the steps of a run on one scale and guesses when it will be done. It
// may be used concurrently.
type meter struct {
	tell func(done float64, text string)

	mu    sync.Mutex // of what follows
	step  string
	from  float64 // where the step begins
	share float64 // and how much of the whole it is
	done  float64
	begun time.Time // when what takes time began
	base  float64   // and how much was done by then
}

func newMeter(tell func(done float64, text string)) *meter {
	return &meter{tell: tell, begun: time.Now()}
}

// enter begins the next step.
func (m *meter) enter(share float64, step string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.from += m.share
	m.share, m.step = share, step
	m.set(0)
}

// report tells how much of the step is done. It never goes back.
func (m *meter) report(done float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(done)
}

const (
	// atOnce is how soon after its beginning a run learns of the children that an
	// earlier attempt has finished: they say nothing of the speed.
	atOnce = 100 * time.Millisecond
	// guessFrom is how much must be done for a guess.
	guessFrom = 0.02
)

// guessed stands between a step and the time left.
const guessed = ", about "

// Step is the step that the progress of a run of Compute names, without the time
// left, for those who tell that themselves.
func Step(text string) string {
	step, _, _ := strings.Cut(text, guessed)
	return step
}

func (m *meter) set(done float64) {
	m.done = max(m.done, m.from+m.share*min(done, 1))
	spent := time.Since(m.begun)
	if spent < atOnce {
		m.base = m.done
	}
	text := m.step
	if fresh := m.done - m.base; spent >= atOnce && fresh >= guessFrom {
		left := time.Duration(float64(spent) * (1 - m.done) / fresh)
		text = m.step + guessed + left.Round(time.Second).String() + " left"
	}
	m.tell(m.done, text)
}
