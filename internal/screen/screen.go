// Package screen writes for people: tables whose columns align, colours where
// the output is a terminal, and progress bars.
package screen

import (
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// Colour of a piece of text.
type Colour string

// The colours there are.
const (
	Plain  Colour = ""
	Bold   Colour = "1"
	Dim    Colour = "2"
	Red    Colour = "31"
	Green  Colour = "32"
	Yellow Colour = "33"
	Blue   Colour = "34"
	Cyan   Colour = "36"
)

// IsTerminal tells whether what is written there is seen by a person.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Colours tells whether to colour what is written there: only on a terminal
// that can, and never with NO_COLOR set.
func Colours(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && IsTerminal(w)
}

// Width is a terminal's number of columns, 0 for anything else.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Cell is one text of a table.
type Cell struct {
	Text   string
	Colour Colour
}

// Text is a cell without colour.
func Text(s string) Cell { return Cell{Text: s} }

// Table writes rows below a header, in columns as wide as they need. Nothing in
// a cell can break the table or steer the terminal.
func Table(w io.Writer, colours bool, header []string, rows [][]Cell) error {
	all := make([][]Cell, 0, len(rows)+1)
	head := make([]Cell, len(header))
	for i, h := range header {
		head[i] = Cell{h, Bold}
	}
	all = append(append(all, head), rows...)
	width := make([]int, len(header))
	for _, row := range all {
		for i := range row {
			row[i].Text = Clean(row[i].Text)
			width[i] = max(width[i], runewidth.StringWidth(row[i].Text))
		}
	}
	var b strings.Builder
	for _, row := range all {
		pad := 0
		for i, c := range row {
			if c.Text != "" {
				b.WriteString(strings.Repeat(" ", pad))
				b.WriteString(Paint(colours, c.Colour, c.Text))
				pad = 0
			}
			pad += width[i] + 2
			if c.Text != "" {
				pad -= runewidth.StringWidth(c.Text)
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// leastShown is the width that is left of a text at least.
const leastShown = 12

// Fit makes rows keep to so many columns in Table, as far as that goes; 0 is for any
// number. The columns to drop go, in their order, until there is room for the others;
// the texts of the last one are shortened.
func Fit(width int, header []string, rows [][]Cell, drop ...int) ([]string, [][]Cell) {
	if width == 0 {
		return header, rows
	}
	widths := widthsOf(header, rows)
	last := len(header) - 1
	gone := make([]bool, len(header))
	for _, i := range drop {
		if need(widths, gone) <= width {
			break
		}
		gone[i] = true
	}
	if !gone[last] {
		most := width - need(widths[:last], gone)
		if slices.Contains(gone[:last], false) {
			most -= 2
		}
		for _, row := range rows {
			row[last].Text = runewidth.Truncate(Clean(row[last].Text), max(most, leastShown), "…")
		}
	}
	left := make([][]Cell, len(rows))
	for r, row := range rows {
		left[r] = kept(row, gone)
	}
	return kept(header, gone), left
}

// need is the least width of a table of such columns, the last of which may be cut.
func need(widths []int, gone []bool) int {
	n, between := 0, 0
	for i, w := range widths {
		if gone[i] {
			continue
		}
		if i == len(gone)-1 {
			w = min(w, leastShown)
		}
		if w > 0 {
			n += between + w
		}
		between = 2
	}
	return n
}

func kept[T any](all []T, gone []bool) []T {
	var left []T
	for i, v := range all {
		if !gone[i] {
			left = append(left, v)
		}
	}
	return left
}

// widthsOf is how wide each column is.
func widthsOf(header []string, rows [][]Cell) []int {
	widths := make([]int, len(header))
	for i, h := range header {
		widths[i] = runewidth.StringWidth(h)
		for _, row := range rows {
			widths[i] = max(widths[i], runewidth.StringWidth(Clean(row[i].Text)))
		}
	}
	return widths
}

// Paint gives the text in a colour, if colours is set.
func Paint(colours bool, c Colour, text string) string {
	if !colours || c == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// Clean makes a text safe to write into one line: what is not printable becomes
// a space, so a text from elsewhere cannot steer the terminal.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.TrimRight(s, "\n"))
}

// CleanLines is Clean for a text of several lines.
func CleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Clean(strings.ReplaceAll(line, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}
