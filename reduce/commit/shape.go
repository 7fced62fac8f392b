package commit

import (
	"runtime"
	"sync"
	"sync/atomic"

	"lockstep/internal/merkle"
)

// Limits of what a round may ask for. They are checked before allocating.
const (
	MaxMembers   = 256
	MaxObservers = 64
	MaxAddress   = 128     // bytes of a host:port
	MaxElements  = 1 << 31 // of the averaged vector
	MaxTokens    = 1 << 53 // of a group; below it the float64 divisor is exact
	MaxChunk     = 1 << 20 // encoded bytes of a chunk
	MaxLeaves    = 1 << 20 // of the averaged vector
)

// Shape lays leaves and chunks over the flat vector of a round. Runs use
// [StandardShape]; tests cut small vectors into many leaves. The zero Shape is
// not valid.
type Shape struct {
	Codec        merkle.Codec
	Elements     int // of the whole vector
	LeafElements int
	ChunkLeaves  int
}

// StandardShape is the grid of N22 over a float32 vector.
func StandardShape(elements int) Shape {
	return Shape{merkle.CodecF32, elements, merkle.LeafElements, merkle.ChunkLeaves}
}

// Valid reports whether s can be the shape of a round.
func (s Shape) Valid() bool {
	return s.Codec == merkle.CodecF32 &&
		s.Elements > 0 && s.Elements <= MaxElements &&
		s.LeafElements > 0 && s.LeafElements <= merkle.LeafElements &&
		s.ChunkLeaves > 0 && s.ChunkLeaves <= MaxChunk/4 &&
		s.Bytes(s.LeafElements*s.ChunkLeaves) <= MaxChunk &&
		s.Leaves() <= MaxLeaves
}

// Bytes returns the encoded size of n elements.
func (s Shape) Bytes(n int) int { return 4 * n }

// Leaves returns the number of leaves.
func (s Shape) Leaves() int { return (s.Elements + s.LeafElements - 1) / s.LeafElements }

// ChunkElements returns the size of every chunk but the last.
func (s Shape) ChunkElements() int { return s.LeafElements * s.ChunkLeaves }

// Chunks returns the number of chunks.
func (s Shape) Chunks() int { return (s.Elements + s.ChunkElements() - 1) / s.ChunkElements() }

// LeafSpan returns the elements [lo, hi) of leaf i.
func (s Shape) LeafSpan(i int) (lo, hi int) {
	lo = i * s.LeafElements
	return lo, min(lo+s.LeafElements, s.Elements)
}

// ChunkSpan returns the elements [lo, hi) of chunk c.
func (s Shape) ChunkSpan(c int) (lo, hi int) {
	lo = c * s.ChunkElements()
	return lo, min(lo+s.ChunkElements(), s.Elements)
}

// ChunkLeafSpan returns the leaves [lo, hi) of chunk c.
func (s Shape) ChunkLeafSpan(c int) (lo, hi int) {
	lo = c * s.ChunkLeaves
	return lo, min(lo+s.ChunkLeaves, s.Leaves())
}

// PartLeafSpan returns the leaves [lo, hi) of a part.
func (s Shape) PartLeafSpan(p Part) (lo, hi int) {
	lo = int(p.First) * s.ChunkLeaves
	return min(lo, s.Leaves()), min(int(p.First+p.Count)*s.ChunkLeaves, s.Leaves())
}

// LeafDigest hashes the encoded bytes of leaf i (N22). The leaf's number and
// element count are part of the hash.
func (s Shape) LeafDigest(kind merkle.Kind, i int, encoded []byte) merkle.Digest {
	lo, hi := s.LeafSpan(i)
	// A grid whose leaf i is its last one and has as many elements as ours:
	// for the standard leaf size this is the vector's own grid.
	g := merkle.Grid{Kind: kind, Codec: s.Codec, Elements: i*merkle.LeafElements + hi - lo}
	return g.LeafDigest(i, encoded)
}

// ChunkDigests hashes the leaves of chunk c, given its encoded bytes. It
// returns nil when the length does not fit.
func (s Shape) ChunkDigests(kind merkle.Kind, c int, encoded []byte) []merkle.Digest {
	lo, hi := s.ChunkSpan(c)
	if c < 0 || c >= s.Chunks() || len(encoded) != s.Bytes(hi-lo) {
		return nil
	}
	first, end := s.ChunkLeafSpan(c)
	out := make([]merkle.Digest, 0, end-first)
	for i := first; i < end; i++ {
		l, h := s.LeafSpan(i)
		out = append(out, s.LeafDigest(kind, i, encoded[s.Bytes(l-lo):s.Bytes(h-lo)]))
	}
	return out
}

// Digests hashes every leaf of x, on as many goroutines as there are
// processors, which changes no digest. It panics unless x has s.Elements
// elements.
func (s Shape) Digests(kind merkle.Kind, x []float32) []merkle.Digest {
	if len(x) != s.Elements {
		panic("commit: vector does not fit the shape")
	}
	out := make([]merkle.Digest, s.Leaves())
	var next atomic.Int64
	work := func() {
		buf := make([]byte, s.Bytes(s.LeafElements))
		for i := int(next.Add(1)) - 1; i < len(out); i = int(next.Add(1)) - 1 {
			lo, hi := s.LeafSpan(i)
			Encode(buf[:s.Bytes(hi-lo)], x[lo:hi])
			out[i] = s.LeafDigest(kind, i, buf[:s.Bytes(hi-lo)])
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(out)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return out
}
