package front

import "sync"

// chunk is what is moved at once while data flows, in bytes.
const chunk = 128 << 10

// pool lends buffers of chunk bytes. What nobody borrows is given back to the system by and by.
type pool struct{ buffers sync.Pool }

func (p *pool) borrow() *[]byte {
	if buffer, ok := p.buffers.Get().(*[]byte); ok {
		return buffer
	}
	buffer := make([]byte, chunk)
	return &buffer
}

func (p *pool) giveBack(buffer *[]byte) {
	if buffer != nil {
		p.buffers.Put(buffer)
	}
}
