package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/linefile"
	"github.com/faena-dev/faena/internal/screen"
	"github.com/faena-dev/faena/tasks/scrape"
	"github.com/faena-dev/faena/tasks/scrape/crawl"
)

// scrapeSlots is how many batches of pages this process fetches at a time, each
// of another host: they wait for the network rather than compute.
const scrapeSlots = 16

// userAgent names this program and its version to servers.
func userAgent() string {
	return "faena/" + programVersion() + " (+https://github.com/faena-dev/faena)"
}

// scrapes is the command of the scrape tasks.
func scrapes() direct {
	return direct{
		use: "scrape URL...", short: "Crawl a site, a line of JSON for each page",
		long: `Crawl from the URLs along links, and print a line of JSON for each page found: its
status, title, links, sizes and what went wrong. A page's error does not end the
crawl; a summary goes to standard error. The exit code is 1 if no page was read.

Only the hosts of the URLs are crawled unless others are asked for, and only they
may have private addresses. robots.txt is obeyed.

A file (-o) is written while the crawl goes on, and what it held before is lost.
A crawl that was cut short goes on by faena resume, and so does its file: pages
fetched before, but for the batch under way, are not fetched again, and no line
comes twice.`,
		example: `  faena scrape https://example.com/docs/ -o docs.jsonl
  faena scrape https://example.com/ --depth 2 --concurrency 2 --delay 500ms
  faena scrape https://example.com/ --host www.example.com --max-pages 1000`,
		slots:    scrapeSlots,
		handlers: func() []faena.Handler { return scrape.Handlers(scrape.Options{UserAgent: userAgent()}) },
		parts:    []string{scrape.Fetch.Name()},
		setup: func(flags *pflag.FlagSet) func([]string) (job, error) {
			var in scrape.Input
			name := flags.StringP("output", "o", "-", "`FILE` to write to; - is standard output")
			depth := flags.Int("depth", -1, "most links to follow from a URL; 0 fetches the URLs alone, unlike depth 0 in JSON (default no limit)")
			flags.Lookup("depth").DefValue = "0" // not shown
			flags.IntVar(&in.Concurrency, "concurrency", crawl.DefaultConcurrency, "requests to one host at a time")
			delay := flags.Duration("delay", 0, "least time between two requests to one host; a longer one in robots.txt counts")
			flags.StringArrayVar(&in.Hosts, "host", nil, "crawl this `HOST`, too; may be repeated")
			flags.BoolVar(&in.AllHosts, "all-hosts", false, "crawl every host that is linked")
			flags.BoolVar(&in.AllowPrivate, "allow-private", false, "let every host have private addresses")
			flags.IntVar(&in.MaxPages, "max-pages", crawl.DefaultMaxPages, "most pages to fetch")
			flags.StringVar(&in.UserAgent, "user-agent", userAgent(), "what the servers are told")
			flags.BoolVar(&in.IgnoreRobots, "ignore-robots", false, "do not ask for robots.txt; for sites of your own")
			omit := flags.Bool("omit-links", false, "leave the list of links out of the lines")
			return func(args []string) (job, error) {
				in := in
				if len(args) == 0 {
					return nil, usage("want a URL, as in faena scrape https://example.com/docs/")
				}
				if err := scrapeFlags(flags, *depth, *delay); err != nil {
					return nil, err
				}
				if err := fileNamed(*name); err != nil {
					return nil, err
				}
				in.Start, in.Delay, in.Depth = args, crawl.Duration(*delay), max(*depth, 0)
				if *depth == 0 {
					in.Depth = -1 // the start addresses only
				}
				if _, err := in.Normal(); err != nil {
					return nil, usage("%w", err)
				}
				if *name != "-" {
					if err := linefile.Check(*name); err != nil {
						return nil, unwritable(err)
					}
				}
				return newScrapeJob(in, *name, *omit), nil
			}
		},
	}
}

// scrapeFlags finds what no crawl can go by.
func scrapeFlags(flags *pflag.FlagSet, depth int, delay time.Duration) error {
	for _, name := range []string{"concurrency", "max-pages"} {
		if n, err := flags.GetInt(name); err != nil || n < 1 {
			return usage("--%s %d: want at least 1", name, n)
		}
	}
	if flags.Changed("depth") {
		if err := notNegative("depth", depth); err != nil {
			return err
		}
	}
	return notNegative("delay", delay)
}

// scrapeJob writes the pages while they come.
type scrapeJob struct {
	*work[scrape.Input, scrape.Summary]
	name string // of the file, or -
	omit bool   // leave links out
	node *faena.Node
	goOn bool // an earlier process may have written to the file
	file *linefile.File
	sum  scrape.Summary
	err  error // of the run
}

func newScrapeJob(in scrape.Input, name string, omit bool) *scrapeJob {
	return &scrapeJob{
		work: &work[scrape.Input, scrape.Summary]{task: scrape.Crawl, inputs: []scrape.Input{in}},
		name: name, omit: omit,
	}
}

func (j *scrapeJob) submit(ctx context.Context, node *faena.Node, opts ...faena.Option) error {
	j.node = node
	return j.work.submit(ctx, node, opts...)
}

func (j *scrapeJob) attach(ctx context.Context, node *faena.Node, ids []faena.ID) error {
	j.node, j.goOn = node, true
	return j.work.attach(ctx, node, ids)
}

func (j *scrapeJob) wait(ctx context.Context, out console) (err error) {
	w, skip := out.out, 0
	if j.name != "-" {
		if j.goOn {
			j.file, skip, err = linefile.Continue(j.name)
		} else {
			j.file, err = linefile.Create(j.name)
		}
		if err != nil {
			return err
		}
		w = j.file
	}
	if err := j.write(ctx, w, skip); err != nil {
		if j.file != nil {
			_ = j.file.Close() // the first error counts
		}
		return err
	}
	j.sum, j.err = j.futures[0].Get(ctx)
	if j.err != nil && !ranAndFailed(ctx, j.err) {
		return j.err
	}
	j.ended.Add(1)
	return nil
}

// write writes the pages but those that stand there, which are the first ones.
// That the run fails is told elsewhere.
func (j *scrapeJob) write(ctx context.Context, w io.Writer, skip int) error {
	var line []byte
	for p, err := range scrape.Pages(ctx, j.node, j.futures[0].ID()) {
		if err != nil {
			if ranAndFailed(ctx, err) {
				return nil
			}
			return err
		}
		if skip > 0 {
			skip--
			continue
		}
		if j.omit {
			p.Links = nil
		}
		if line, err = p.AppendLine(line[:0]); err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

func (j *scrapeJob) finish(out console) error {
	if j.file != nil {
		if err := j.file.Close(); err != nil {
			return err
		}
	}
	if j.err != nil {
		return &fault{exitFailed, j.err}
	}
	fmt.Fprintln(out.err, scrapeSummary(&j.sum)) //nolint:errcheck // to people
	if j.sum.OK == 0 {
		return &fault{exitFailed, errors.New("not a single page was read: the lines say why")}
	}
	return nil
}

func scrapeSummary(s *scrape.Summary) string {
	took := time.Duration(s.ElapsedMS) * time.Millisecond
	text := fmt.Sprintf("%s in %s, %.0f/s: %d ok", count(s.Pages, "page"), screen.Span(took), float64(s.Pages)/max(took.Seconds(), 0.001), s.OK)
	var b strings.Builder
	b.WriteString(text)
	for _, c := range []struct {
		n    int
		what string
	}{{s.Redirects, "redirected"}, {s.Broken, "broken"}, {s.Failed, "failed"}, {s.Skipped, "skipped"}, {s.Retries, plural(s.Retries, "request") + " repeated"}} {
		if c.n > 0 {
			fmt.Fprintf(&b, ", %d %s", c.n, c.what)
		}
	}
	if s.Limited {
		b.WriteString("; there are more, kept out by --max-pages")
	}
	return b.String()
}
