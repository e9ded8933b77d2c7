// Command faena-bench measures faena on this machine: backlogs, single
// submissions, latency, fan-out, CPU and memory, each beside what JetStream and
// the disk do by themselves in the same minute.
//
//	go run ./cmd/faena-bench -dir /srv/data -rounds 3
//
// Every figure is the median of the rounds. The handler is trivial, input and
// output are 100 bytes, and a clock stops when each run has its own result in
// the index.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	dir    string
	rounds int
	only   string
	n      int
	worker string

	profile  string
	profiles int
}

// profiled writes profiles of what f does to files of its own, if they are asked
// for: of CPU time, and of all that was allocated by its end.
func (o *options) profiled(what string, f func() error) error {
	if o.profile == "" {
		return f()
	}
	o.profiles++
	path := fmt.Sprintf("%s.%s.%d", o.profile, what, o.profiles)
	out, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("make a profile: %w", err)
	}
	defer out.Close() //nolint:errcheck // a profile that is cut off says so itself
	if err := pprof.StartCPUProfile(out); err != nil {
		return fmt.Errorf("make a profile: %w", err)
	}
	ferr := f()
	pprof.StopCPUProfile()
	allocs, err := os.Create(path + ".allocs")
	if err != nil {
		return fmt.Errorf("make a profile: %w", err)
	}
	defer allocs.Close() //nolint:errcheck // as above
	if err := pprof.Lookup("allocs").WriteTo(allocs, 0); err != nil {
		return fmt.Errorf("make a profile: %w", err)
	}
	return ferr
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", os.TempDir(), "folder on the disk to measure")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each measurement")
	flag.StringVar(&o.only, "only", "", "comma-separated names of measurements; default all")
	flag.IntVar(&o.n, "n", 100_000, "runs of a backlog")
	flag.StringVar(&o.worker, "worker", "", "internal: work for the engine at this data directory")
	flag.StringVar(&o.profile, "profile", "", "write CPU profiles of the phases to files that begin with this path")
	flag.Parse()
	if err := run(context.Background(), &o); err != nil {
		fmt.Fprintln(os.Stderr, "faena-bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) error {
	if o.worker != "" {
		return work(ctx, o.worker)
	}
	for _, m := range measurements() {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), m.name) {
			continue
		}
		rows := map[string][]float64{}
		var order []string
		for range o.rounds {
			r := &result{}
			if err := m.do(ctx, o, r); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			for _, f := range r.figures {
				if rows[f.name] == nil {
					order = append(order, f.name)
				}
				rows[f.name] = append(rows[f.name], f.v)
			}
		}
		fmt.Printf("\n%s: %s\n", m.name, m.what)
		for _, name := range order {
			v := rows[name]
			slices.Sort(v)
			fmt.Printf("  %-46s median %12.2f   min %12.2f   max %12.2f\n", name, v[len(v)/2], v[0], v[len(v)-1])
		}
	}
	return nil
}

// measurement is one thing measured.
type measurement struct {
	name, what string
	do         func(ctx context.Context, o *options, r *result) error
}

// result gathers a round's figures.
type result struct {
	figures []figure
}

type figure struct {
	name string
	v    float64
}

func (r *result) add(name string, v float64) { r.figures = append(r.figures, figure{name, v}) }

// latencies adds percentiles in milliseconds.
func (r *result) latencies(name string, l []time.Duration) {
	if len(l) == 0 {
		return
	}
	slices.Sort(l)
	r.add(name+" p50 ms", float64(l[len(l)/2].Microseconds())/1000)
	r.add(name+" p99 ms", float64(l[len(l)*99/100].Microseconds())/1000)
}

// cpu is the CPU time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is the resident memory of a process in MB.
func resident(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if strings.HasPrefix(l, "VmRSS:") {
			var kb float64
			if _, err := fmt.Sscanf(l, "VmRSS: %f kB", &kb); err == nil {
				return kb / 1024
			}
		}
	}
	return 0
}
