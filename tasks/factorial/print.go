package factorial

import (
	"fmt"
	"io"
	"strconv"
)

// Print writes what was asked for, the decimal or else the number of digits, and
// a line feed.
func (o Output) Print(w io.Writer) error {
	text := o.Decimal
	if text == "" {
		text = strconv.FormatInt(o.Digits, 10)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write factorial of %d: %w", o.N, err)
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return fmt.Errorf("write factorial of %d: %w", o.N, err)
	}
	return nil
}
