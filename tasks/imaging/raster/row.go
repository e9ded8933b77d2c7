package raster

import "encoding/binary"

// ReadStraight fills dst, Width × Channels samples long, with row y at 16 bits
// per sample, not multiplied by alpha.
func (m *Image) ReadStraight(y int, dst []uint16) {
	src := m.Row(y)
	dst = dst[:m.Width*m.Channels()]
	be := binary.BigEndian
	switch {
	case m.Gray && m.Deep, !m.Opaque && m.Deep:
		for i := range dst {
			dst[i] = be.Uint16(src[2*i:])
		}
	case m.Gray, !m.Opaque:
		for i := range dst {
			dst[i] = uint16(src[i]) * 0x101
		}
	case m.Deep:
		for i := 0; i+2 < len(dst); i += 3 {
			s := src[:8]
			dst[i], dst[i+1], dst[i+2] = be.Uint16(s), be.Uint16(s[2:]), be.Uint16(s[4:])
			src = src[8:]
		}
	default:
		for i := 0; i+2 < len(dst); i += 3 {
			s := src[:4]
			dst[i] = uint16(s[0]) * 0x101
			dst[i+1] = uint16(s[1]) * 0x101
			dst[i+2] = uint16(s[2]) * 0x101
			src = src[4:]
		}
	}
}

// ReadRow is ReadStraight with the colours multiplied by alpha: the form in
// which pixels may be averaged, as what cannot be seen then weighs nothing.
func (m *Image) ReadRow(y int, dst []uint16) {
	m.ReadStraight(y, dst)
	if m.Channels() != 4 {
		return
	}
	for i := 0; i+3 < 4*m.Width; i += 4 {
		p := dst[i : i+4 : i+4]
		a := uint32(p[3])
		if a == 0xffff {
			continue
		}
		for c := range 3 {
			p[c] = uint16((uint32(p[c])*a + 0x7fff) / 0xffff & 0xffff)
		}
	}
}

// WriteStraight stores row y from what ReadStraight would give.
func (m *Image) WriteStraight(y int, src []uint16) {
	dst := m.Row(y)
	src = src[:m.Width*m.Channels()]
	be := binary.BigEndian
	switch {
	case m.Gray && m.Deep, !m.Opaque && m.Deep:
		for i, v := range src {
			be.PutUint16(dst[2*i:], v)
		}
	case m.Gray, !m.Opaque:
		for i, v := range src {
			dst[i] = narrow(v)
		}
	case m.Deep:
		for i := 0; i+2 < len(src); i += 3 {
			d := dst[:8]
			be.PutUint16(d, src[i])
			be.PutUint16(d[2:], src[i+1])
			be.PutUint16(d[4:], src[i+2])
			be.PutUint16(d[6:], 0xffff)
			dst = dst[8:]
		}
	default:
		for i := 0; i+2 < len(src); i += 3 {
			d := dst[:4]
			d[0], d[1], d[2], d[3] = narrow(src[i]), narrow(src[i+1]), narrow(src[i+2]), 0xff
			dst = dst[4:]
		}
	}
}

// WriteRow stores row y from what ReadRow would give. It overwrites src.
func (m *Image) WriteRow(y int, src []uint16) {
	if m.Channels() == 4 {
		for i := 0; i+3 < 4*m.Width; i += 4 {
			Straighten(src[i : i+4 : i+4])
		}
	}
	m.WriteStraight(y, src)
}

// Straighten divides the colours of one pixel with alpha by its alpha. A pixel
// that cannot be seen becomes black.
func Straighten(p []uint16) {
	a := uint32(p[3])
	switch a {
	case 0xffff:
	case 0:
		p[0], p[1], p[2] = 0, 0, 0
	default:
		for c := range 3 {
			// Rounding, and kernels with negative parts, can lift a colour above its alpha.
			p[c] = uint16(min((uint32(p[c])*0xffff+a/2)/a, 0xffff))
		}
	}
}

// narrow rounds 16 bits to 8, so that v × 0x101 comes back as v.
func narrow(v uint16) byte { return byte((uint32(v)*0xff + 0x807f) >> 16 & 0xff) }
