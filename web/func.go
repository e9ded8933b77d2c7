package web

import (
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/faena-dev/faena"
)

func (p *Pages) funcs() template.FuncMap {
	return template.FuncMap{
		"t":       p.Text,
		"asset":   func(name string) string { return "/assets/" + name + "?v=" + p.assets[name].Tag },
		"num":     thousands,
		"rate":    rate,
		"ago":     p.ago,
		"iso":     iso,
		"took":    took,
		"uptime":  p.uptime,
		"pretty":  pretty,
		"percent": percent,
		"size":    size,
		"tags":    tags,
		"short":   func(id faena.ID) string { return id.String()[14:20] }, // what differs between neighbours
		"line":    line,
		"state":   func(s any) string { return fmt.Sprint(s) },
		"list":    func(s ...string) []string { return s },
	}
}

// thousands is a number in groups of three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rate is a number of three digits, or without a fraction.
func rate(f float64) string {
	switch {
	case f == 0:
		return "0"
	case f < 1:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case f < 100:
		return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
	}
	return thousands(int64(math.Round(f)))
}

// instant takes times as views have them.
func instant(v any) (time.Time, bool) {
	switch t := v.(type) {
	case time.Time:
		return t, !t.IsZero()
	case *time.Time:
		if t != nil {
			return *t, !t.IsZero()
		}
	}
	return time.Time{}, false
}

func iso(v any) string {
	t, ok := instant(v)
	if !ok {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// year is from where a distance of time is told as a date.
const year = 365 * 24 * time.Hour

// ago is a time as the distance from now, or as a date if it is far.
func (p *Pages) ago(v any) (string, error) {
	t, ok := instant(v)
	if !ok {
		return "–", nil
	}
	d := time.Since(t)
	key := "time.past"
	if d < 0 {
		d, key = -d, "time.future"
	}
	switch { // what is too far for a Duration stays negative
	case d < 0 || d >= year:
		return t.UTC().Format("2006-01-02"), nil
	case d < time.Second:
		return p.Text("time.now")
	}
	return p.Text(key, unit(d))
}

// unit is a span of time in one unit, of hours also in minutes while they are few.
func unit(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 10*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

func (p *Pages) uptime(d time.Duration) string { return unit(d) }

// took is the span between two times, precise where it is short.
func took(from, to any) string {
	a, ok := instant(from)
	b, ended := instant(to)
	if !ok {
		return "–"
	}
	if !ended {
		b = time.Now()
	}
	d := max(b.Sub(a), 0)
	switch {
	case d < time.Millisecond:
		return "< 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

func percent(done float64) int { return int(math.Round(100 * min(max(done, 0), 1))) }

func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// tags are a run's tags in the order of their keys.
func tags(m map[string]string) []faena.Tag {
	out := make([]faena.Tag, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, faena.Tag{Key: k, Value: m[k]})
	}
	return out
}

// line is a text in one line of at most 160 characters.
func line(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 160 {
		return string(r[:159]) + "…"
	}
	return s
}
