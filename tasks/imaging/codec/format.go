// Package codec reads and writes JPEG, PNG and GIF, and reads WebP. It tells
// formats by content, refuses what is damaged or too large before it is decoded,
// turns pictures upright, and keeps colour profiles.
package codec

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Format is a file format, by its usual name in lower case.
type Format string

// The formats. WebP is read but not written.
const (
	JPEG Format = "jpeg"
	PNG  Format = "png"
	GIF  Format = "gif"
	WebP Format = "webp"
)

// What is wrong with a picture, for errors.Is. None of them goes away by trying
// again.
var (
	// ErrFormat: the content is none of the formats, or a kind of one that is not
	// supported.
	ErrFormat = errors.New("not a picture that can be read")
	// ErrDamaged: the content is cut short or contradicts itself.
	ErrDamaged = errors.New("the picture is damaged")
	// ErrTooLarge: the picture has more pixels than allowed.
	ErrTooLarge = errors.New("the picture is too large")
)

// remedyDamaged ends every message about damage.
const remedyDamaged = "copy or export the file again"

// Output returns the format in which a picture of format f is written unless
// another is asked for: its own, and PNG for WebP.
func (f Format) Output() Format {
	if f == WebP {
		return PNG
	}
	return f
}

// FormatOf returns the format that a file name's extension stands for, in any
// case of letters.
func FormatOf(name string) (Format, bool) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jpg", ".jpeg", ".jpe", ".jfif":
		return JPEG, true
	case ".png":
		return PNG, true
	case ".gif":
		return GIF, true
	case ".webp":
		return WebP, true
	}
	return "", false
}

// Sniff tells the format from the first bytes of a file. The error says what the
// file begins with.
func Sniff(data []byte) (Format, error) {
	switch {
	case len(data) == 0:
		return "", fmt.Errorf("%w: the file is empty: %s", ErrDamaged, remedyDamaged)
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return JPEG, nil
	case bytes.HasPrefix(data, []byte(pngMagic)):
		return PNG, nil
	case bytes.HasPrefix(data, []byte("GIF87a")), bytes.HasPrefix(data, []byte("GIF89a")):
		return GIF, nil
	case len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return WebP, nil
	}
	return "", fmt.Errorf("%w: it begins with %q: give JPEG, PNG, GIF or WebP", ErrFormat, data[:min(len(data), 12)])
}
