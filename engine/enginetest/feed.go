package enginetest

import (
	"context"
	"strings"
	"time"

	"github.com/faena-dev/faena/engine"
)

// heldBatch executes a batch of short runs, but for one in its middle that holds
// the only slot until gate is closed. It gives the batch, and which one that is.
func (b *bed) heldBatch(gate chan struct{}) (runs []engine.Run, fs []*future, held int) {
	b.t.Helper()
	b.heldWorker(gate)
	b.one(b.run("echo", "1")).output() // the task is known to be short
	const n, held0 = 5000, 3000
	for i := range n {
		task := "echo"
		if i == held0 {
			task = "hold"
		}
		runs = append(runs, b.run(task, `"`+strings.Repeat("b", 200)+`"`)) // it is staged
	}
	fs = b.batch(runs)
	b.untilState(runs[held0].ID, engine.Running)
	return runs, fs, held0
}

func (b *bed) heldWorker(gate chan struct{}) engine.Worker {
	return b.worker(1, tasks{"echo": echo, "hold": func(ctx context.Context, _ *engine.Attempt) engine.Outcome {
		select {
		case <-gate:
			return ok("1")
		case <-ctx.Done():
			return engine.Outcome{Interrupted: true}
		}
	}})
}

// allEnd wants that the runs succeed, the one that is held after so many starts
// and the others after one, or two if they were in hand when a process died.
func (b *bed) allEnd(runs []engine.Run, held, starts, twice int) {
	b.t.Helper()
	two := 0
	for i, r := range runs {
		b.attach(r.ID).want(engine.Succeeded, "")
		n := b.led.count(r.ID)
		if i == held {
			if n != starts {
				b.t.Errorf("the run that was under way began %d times, want %d", n, starts)
			}
			continue
		}
		if n == 2 {
			two++
		}
		if n < 1 || n > 2 {
			b.t.Errorf("run %d of the batch began %d times, want once", i, n)
		}
	}
	if two > twice {
		b.t.Errorf("%d runs of the batch began twice, want at most %d", two, twice)
	}
}

func testBatchKill(b *bed) {
	gate := make(chan struct{})
	runs, _, held := b.heldBatch(gate)
	b.kill(false)
	b.agree()
	close(gate)
	b.heldWorker(gate)
	b.allEnd(runs, held, 2, 0)
	b.agree()
}

func testBatchKiller(b *bed) {
	gate := make(chan struct{})
	runs, _, held := b.heldBatch(gate)
	for range engine.MaxDeaths - 1 {
		b.kill(false)
		b.heldWorker(gate)
		b.untilState(runs[held].ID, engine.Running)
	}
	b.kill(false)
	b.heldWorker(gate)
	b.attach(runs[held].ID).want(engine.Failed, engine.CodeLost)
	if n := b.led.count(runs[held].ID); n != engine.MaxDeaths {
		b.t.Errorf("it began %d times, want %d", n, engine.MaxDeaths)
	}
	for i, r := range runs {
		if i == held {
			continue
		}
		b.attach(r.ID).want(engine.Succeeded, "")
		if n := b.led.count(r.ID); n != 1 {
			b.t.Errorf("run %d of the batch began %d times, want once", i, n)
		}
	}
}

func testBatchStop(b *bed) {
	gate := make(chan struct{})
	runs, _, held := b.heldBatch(gate)
	b.restart()
	b.agree()
	close(gate)
	b.heldWorker(gate)
	b.allEnd(runs, held, 2, 0)
	b.agree()
}

// Stops and kills by turns: what a stop handed back, or left, is executed once,
// whatever the process before it had been through.
func testBatchStops(b *bed) {
	const n, slots = 4000, 2
	nap := tasks{"nap": napper(300 * time.Microsecond)}
	b.worker(slots, nap)
	b.one(b.run("nap", "1")).output()
	var runs []engine.Run
	for range n {
		runs = append(runs, b.run("nap", `"`+strings.Repeat("b", 200)+`"`))
	}
	b.batch(runs)
	kills := 0
	for i := range 8 {
		b.sleep(time.Duration(20+i*7) * time.Millisecond)
		if i%4 == 2 {
			b.kill(false)
			kills++
		} else {
			b.restart()
		}
		b.worker(slots, nap)
	}
	twice := 0
	for _, r := range runs {
		b.attach(r.ID).want(engine.Succeeded, "")
		switch c := b.led.count(r.ID); {
		case c == 2:
			twice++
		case c != 1:
			b.t.Errorf("a run of the batch began %d times, want once", c)
		}
	}
	if most := kills * 4 * slots; twice > most { // under way, or ended and not on disk
		b.t.Errorf("%d runs began twice with %d kills, want at most %d", twice, kills, most)
	}
	b.agree()
}

// A paused queue starts no runs, also of a batch that is under way.
func testBatchPause(b *bed) {
	gate := make(chan struct{})
	runs, _, held := b.heldBatch(gate)
	if err := b.client.Pause(b.ctx(), queue); err != nil {
		b.t.Fatalf("Pause = %v", err)
	}
	b.sleep(time.Second)
	begun := 0
	for _, r := range runs {
		begun += b.led.count(r.ID)
	}
	close(gate)
	b.sleep(10 * time.Second)
	for _, r := range runs {
		begun -= b.led.count(r.ID)
	}
	if begun != 0 {
		b.t.Errorf("%d runs began in a paused queue", -begun)
	}
	b.agree()
	if err := b.client.Resume(b.ctx(), queue); err != nil {
		b.t.Fatalf("Resume = %v", err)
	}
	b.allEnd(runs, held, 1, 0)
	b.agree()
}

// After a restart, messages of several runs are split, because they may have begun.
// That must not take a turn of the worker's clock for each.
func testManyAfterRestart(b *bed) {
	w := b.worker(2, tasks{"echo": echo})
	b.one(b.run("echo", "1")).output()
	if err := w.Stop(b.ctx()); err != nil {
		b.t.Fatalf("Stop = %v", err)
	}
	var all []engine.Run
	for range 100 {
		runs := make([]engine.Run, 5)
		for i := range runs {
			runs[i] = b.run("echo", "2")
		}
		b.batch(runs)
		all = append(all, runs...)
	}
	b.kill(false)
	began := time.Now()
	b.worker(2, tasks{"echo": echo})
	for _, r := range all {
		b.attach(r.ID).want(engine.Succeeded, "")
	}
	if d := time.Since(began); d > 5*time.Second {
		b.t.Errorf("the runs of 100 messages took %v after a restart, want less than 5 s", d)
	}
}
