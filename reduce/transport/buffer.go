package transport

import "sync"

// pooled is the least size of payloads whose memory is used again: chunks, of
// which a round moves thousands.
const pooled = 64 << 10

var buffers sync.Pool // of *[]byte

// takeBuffer returns n bytes of any content.
func takeBuffer(n int) []byte {
	if n >= pooled {
		if b, ok := buffers.Get().(*[]byte); ok && cap(*b) >= n {
			return (*b)[:n]
		}
	}
	return make([]byte, n)
}

// giveBuffer takes back what nobody looks at any more.
func giveBuffer(b []byte) {
	if cap(b) >= pooled {
		b = b[:0]
		buffers.Put(&b)
	}
}
