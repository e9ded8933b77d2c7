package main

import (
	"encoding/json"
	"io"
	"strconv"

	"github.com/faena-dev/faena"
	"github.com/faena-dev/faena/internal/screen"
)

// printJSON writes a value as indented JSON.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printLine writes a value as one line of JSON.
func printLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// stateCell is a state in its colour.
func stateCell(s faena.State) screen.Cell {
	c := screen.Plain
	switch s {
	case faena.Succeeded:
		c = screen.Green
	case faena.Failed:
		c = screen.Red
	case faena.Cancelled, faena.Retrying:
		c = screen.Yellow
	case faena.Running, faena.Waiting:
		c = screen.Cyan
	case faena.Scheduled, faena.Queued:
		c = screen.Blue
	}
	return screen.Cell{Text: s.String(), Colour: c}
}

// count is a number of things: "1 run", "2 runs".
func count(n int, thing string) string { return strconv.Itoa(n) + " " + plural(n, thing) }

// plural is the word for so many things: "run", "runs".
func plural(n int, thing string) string {
	if n == 1 {
		return thing
	}
	return thing + "s"
}
