package raster

import "sync"

// Pool keeps the memory of images that are done with for the next ones. The zero
// value is ready; a nil pool keeps nothing. It may be used by many goroutines,
// and gives what nobody asks for back to the garbage collector.
type Pool struct {
	free sync.Pool
}

// Put hands over the memory of an image that nobody uses any more.
func (p *Pool) Put(m *Image) {
	if p == nil || m == nil || cap(m.Pix) == 0 {
		return
	}
	pix := m.Pix
	m.Pix = nil
	p.free.Put(&pix)
}

// get returns n bytes with whatever they held before.
func (p *Pool) get(n int) []byte {
	if p == nil {
		return make([]byte, n)
	}
	// What is far too large stays with a small picture for long: let it go.
	if pix, ok := p.free.Get().(*[]byte); ok && cap(*pix) >= n && cap(*pix)/4 <= n {
		return (*pix)[:n]
	}
	return make([]byte, n)
}
