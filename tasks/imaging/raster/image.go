// Package raster holds decoded pictures in memory and hands their rows out as
// 16-bit samples, so that filters are written once for every depth.
package raster

// Image is an upright picture in memory. Its pixels lie row by row without
// gaps: one sample each if Gray, else red, green, blue and alpha, not
// multiplied by alpha. It may be read from several goroutines; distinct rows
// may be written from several.
type Image struct {
	// Width and Height are the size in pixels, at least 1 each.
	Width, Height int
	// Gray says that a pixel is one sample of luma, without alpha.
	Gray bool
	// Deep says that a sample has 16 bits, the high byte first; else it has 8.
	Deep bool
	// Opaque says that alpha is full everywhere. It holds for gray pictures.
	Opaque bool
	// Pix holds Width × Height × PixelBytes bytes.
	Pix []byte
}

// Kind is what an image is apart from its size.
type Kind struct {
	// Gray, Deep and Opaque are as in Image.
	Gray, Deep, Opaque bool
}

// New returns an image whose pixels are not cleared: the caller writes all of
// them, alpha too. A nil pool is allowed.
func New(pool *Pool, width, height int, kind Kind) *Image {
	img := &Image{Width: width, Height: height, Gray: kind.Gray, Deep: kind.Deep, Opaque: kind.Opaque || kind.Gray}
	img.Pix = pool.get(width * height * img.PixelBytes())
	return img
}

// Kind returns what the image is apart from its size.
func (m *Image) Kind() Kind { return Kind{Gray: m.Gray, Deep: m.Deep, Opaque: m.Opaque} }

// PixelBytes returns the bytes of one pixel in Pix: 1, 2, 4 or 8.
func (m *Image) PixelBytes() int {
	n := 4
	if m.Gray {
		n = 1
	}
	if m.Deep {
		n *= 2
	}
	return n
}

// Channels returns the samples of a pixel in the rows that ReadRow gives: 1 for
// gray, 3 for opaque colour, 4 with alpha.
func (m *Image) Channels() int {
	switch {
	case m.Gray:
		return 1
	case m.Opaque:
		return 3
	}
	return 4
}

// Row returns the bytes of row y.
func (m *Image) Row(y int) []byte {
	n := m.Width * m.PixelBytes()
	return m.Pix[y*n : (y+1)*n : (y+1)*n]
}

// CheckOpaque looks at every pixel and sets Opaque to what it finds.
func (m *Image) CheckOpaque() {
	m.Opaque = true
	if m.Gray {
		return
	}
	step, alpha := 4, 3
	if m.Deep {
		step, alpha = 8, 6
	}
	for i := alpha; i < len(m.Pix); i += step {
		if m.Pix[i] != 0xff || m.Deep && m.Pix[i+1] != 0xff {
			m.Opaque = false
			return
		}
	}
}
