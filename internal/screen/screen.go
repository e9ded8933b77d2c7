// Package screen writes for people: tables whose columns align, colours where
// the output is a terminal, and progress bars.
package screen

import (
	"io"
	"os"
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

// leastShown is the width that Fit leaves of a text at least.
const leastShown = 12

// Fit shortens the texts of the last column so that Table keeps to so many
// columns, if the others leave it room; 0 is for any number.
func Fit(width int, header []string, rows [][]Cell) {
	if width == 0 {
		return
	}
	last := len(header) - 1
	for i := range last {
		most := runewidth.StringWidth(header[i])
		for _, row := range rows {
			most = max(most, runewidth.StringWidth(Clean(row[i].Text)))
		}
		width -= most + 2
	}
	for _, row := range rows {
		row[last].Text = runewidth.Truncate(Clean(row[last].Text), max(width, leastShown), "…")
	}
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
