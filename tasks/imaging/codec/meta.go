package codec

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
)

const (
	exifPrefix = "Exif\x00\x00"
	iccPrefix  = "ICC_PROFILE\x00"
	pngMagic   = "\x89PNG\r\n\x1a\n"
	// maxProfile bounds a colour profile; the usual ones have 0.5 to 600 KB.
	maxProfile = 4 << 20
	// maxICCSegment is what a JPEG segment holds of a profile.
	maxICCSegment = 0xffff - 2 - len(iccPrefix) - 2
)

// jpegMeta reads orientation and profile from the segments before the first scan.
// What is malformed is left out; the decoder judges the rest.
func jpegMeta(data []byte, h *Header) {
	var parts [256][]byte
	total := 0
	seenExif := false
	rest := data[2:]
	for len(rest) >= 4 && rest[0] == 0xff {
		marker := rest[1]
		if marker == 0xff { // fill
			rest = rest[1:]
			continue
		}
		if marker == 0xda || marker == 0xd9 {
			break
		}
		if marker == 0x01 || marker >= 0xd0 && marker <= 0xd8 { // no length
			rest = rest[2:]
			continue
		}
		n := int(binary.BigEndian.Uint16(rest[2:]))
		if n < 2 || 2+n > len(rest) {
			break
		}
		body := rest[4 : 2+n]
		rest = rest[2+n:]
		switch {
		case marker == 0xe1 && !seenExif && bytes.HasPrefix(body, []byte(exifPrefix)):
			seenExif = true
			h.Orientation = orientation(body[len(exifPrefix):])
		case marker == 0xe2 && bytes.HasPrefix(body, []byte(iccPrefix)) && len(body) > len(iccPrefix)+2:
			parts[body[len(iccPrefix)]] = body[len(iccPrefix)+2:]
			total = int(body[len(iccPrefix)+1])
		}
	}
	var profile []byte
	for i := 1; i <= total; i++ {
		if parts[i] == nil {
			return
		}
		profile = append(profile, parts[i]...)
	}
	h.Profile = checkProfile(profile)
}

// pngMeta reads orientation and profile from the chunks, and whether there are
// frames of an animation.
func pngMeta(data []byte, h *Header) (animated bool) {
	rest := data[len(pngMagic):]
	for len(rest) >= 12 {
		n := int64(binary.BigEndian.Uint32(rest))
		if n > int64(len(rest)-12) {
			return animated
		}
		body := rest[8 : 8+n]
		switch string(rest[4:8]) {
		case "eXIf":
			h.Orientation = orientation(body)
		case "iCCP":
			h.Profile = inflateProfile(body)
		case "acTL":
			// One frame is a still picture after all.
			animated = len(body) >= 4 && binary.BigEndian.Uint32(body) > 1
		case "IEND":
			return animated
		}
		rest = rest[12+n:]
	}
	return animated
}

// inflateProfile reads the body of an iCCP chunk: a name, a zero, a method, and
// the compressed profile.
func inflateProfile(body []byte) []byte {
	i := bytes.IndexByte(body, 0)
	if i < 0 || i+2 > len(body) || body[i+1] != 0 {
		return nil
	}
	z, err := zlib.NewReader(bytes.NewReader(body[i+2:]))
	if err != nil {
		return nil // a damaged profile is as good as none
	}
	profile, err := io.ReadAll(io.LimitReader(z, maxProfile+1))
	if err != nil {
		return nil // likewise
	}
	return checkProfile(profile)
}

// webpMeta reads orientation and profile from the chunks, and whether there is an
// animation.
func webpMeta(data []byte, h *Header) (animated bool) {
	rest := data[12:]
	for len(rest) >= 8 {
		n := int64(binary.LittleEndian.Uint32(rest[4:]))
		if n > int64(len(rest)-8) {
			return animated
		}
		body := rest[8 : 8+n]
		switch string(rest[:4]) {
		case "EXIF":
			// Some writers put the prefix of JPEG before it.
			h.Orientation = orientation(bytes.TrimPrefix(body, []byte(exifPrefix)))
		case "ICCP":
			h.Profile = checkProfile(bytes.Clone(body))
		case "ANIM", "ANMF":
			animated = true
		}
		rest = rest[min(8+n+n&1, int64(len(rest))):]
	}
	return animated
}

// checkProfile returns the profile if its size and signature are those of one.
func checkProfile(p []byte) []byte {
	if len(p) < 128 || len(p) > maxProfile || string(p[36:40]) != "acsp" {
		return nil
	}
	return p
}

// fits reports whether a profile describes pictures of this kind: one for CMYK
// or RGB says nothing about gray.
func fits(profile []byte, gray bool) bool {
	if profile == nil {
		return false
	}
	space := strings.TrimRight(string(profile[16:20]), " ")
	return gray && space == "GRAY" || !gray && space == "RGB"
}

// iccSegments returns the profile as segments for a JPEG file.
func iccSegments(profile []byte) []byte {
	total := (len(profile) + maxICCSegment - 1) / maxICCSegment
	if total > 255 {
		return nil
	}
	var out []byte
	for i := range total {
		part := profile[i*maxICCSegment : min((i+1)*maxICCSegment, len(profile))]
		out = append(out, 0xff, 0xe2)
		out = binary.BigEndian.AppendUint16(out, uint16(2+len(iccPrefix)+2+len(part))) //nolint:gosec // G115: part is cut to fit
		out = append(out, iccPrefix...)
		out = append(out, byte(i+1), byte(total))
		out = append(out, part...)
	}
	return out
}

// iccChunk returns the profile as a chunk for a PNG file.
func iccChunk(profile []byte) []byte {
	body := bytes.NewBufferString("ICC profile\x00\x00")
	z := zlib.NewWriter(body)
	// A buffer takes everything.
	_, _ = z.Write(profile)
	_ = z.Close()
	out := binary.BigEndian.AppendUint32(nil, uint32(body.Len())) //nolint:gosec // G115: a profile has at most 4 MiB
	out = append(out, "iCCP"...)
	out = append(out, body.Bytes()...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}
