package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

// Contract is the id of the arithmetic contract whose bits are hashed.
const Contract = "lockstep-num-1"

// The grid (N22): leaves for hashing, chunks for sending.
const (
	LeafElements  = 16384
	ChunkLeaves   = 8
	ChunkElements = LeafElements * ChunkLeaves
)

// Kind says which vector a leaf belongs to.
type Kind uint8

// The kinds of vector.
const (
	KindGradient   Kind = 1 // a miner's token-sum gradient
	KindAverage    Kind = 2 // the group's token-mean gradient
	KindParameters Kind = 3
	KindMomentM    Kind = 4 // AdamW's first moment
	KindMomentV    Kind = 5 // AdamW's second moment
)

// Codec says how elements became bytes.
type Codec uint8

// CodecF32 is float32, little-endian.
const CodecF32 Codec = 1

// Grid lays leaves and chunks over a flat vector. All fields take part in
// every leaf's hash except Elements, which each leaf's own count covers.
type Grid struct {
	Kind     Kind
	Codec    Codec
	Elements int
}

// Leaves returns the number of leaves.
func (g Grid) Leaves() int { return (g.Elements + LeafElements - 1) / LeafElements }

// Chunks returns the number of chunks.
func (g Grid) Chunks() int { return (g.Elements + ChunkElements - 1) / ChunkElements }

// LeafSpan returns the elements [lo, hi) of leaf i.
func (g Grid) LeafSpan(i int) (lo, hi int) { return span(i, LeafElements, g.Elements) }

// ChunkSpan returns the elements [lo, hi) of chunk c.
func (g Grid) ChunkSpan(c int) (lo, hi int) { return span(c, ChunkElements, g.Elements) }

func span(i, size, n int) (lo, hi int) {
	if i < 0 || i*size >= n {
		panic("merkle: span outside the grid")
	}
	return i * size, min((i+1)*size, n)
}

// LeafDigest hashes the encoded bytes of leaf i: SHA-256(0x00 ‖ u8 len ‖
// contract ‖ u8 kind ‖ u8 codec ‖ u64 leaf ‖ u32 elements ‖ bytes).
func (g Grid) LeafDigest(i int, encoded []byte) Digest {
	lo, hi := g.LeafSpan(i)
	var head [64]byte
	b := append(head[:0], 0, byte(len(Contract)))
	b = append(b, Contract...)
	b = append(b, byte(g.Kind), byte(g.Codec))
	b = binary.LittleEndian.AppendUint64(b, uint64(i))
	b = binary.LittleEndian.AppendUint32(b, uint32(hi-lo))
	h := sha256.New()
	h.Write(b)
	h.Write(encoded)
	var d Digest
	h.Sum(d[:0])
	return d
}

// Digests hashes every leaf of x as float32, little-endian. Leaves are shared
// out among GOMAXPROCS goroutines, which changes no digest.
// It panics unless x has g.Elements elements and the codec is CodecF32.
func (g Grid) Digests(x []float32) []Digest {
	if len(x) != g.Elements || g.Codec != CodecF32 {
		panic("merkle: vector does not fit the grid")
	}
	out := make([]Digest, g.Leaves())
	var next atomic.Int64
	work := func() {
		buf := make([]byte, 0, 4*LeafElements)
		for i := int(next.Add(1)) - 1; i < len(out); i = int(next.Add(1)) - 1 {
			lo, hi := g.LeafSpan(i)
			out[i] = g.LeafDigest(i, AppendFloat32(buf, x[lo:hi]))
		}
	}
	workers := min(runtime.GOMAXPROCS(0), len(out))
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return out
}

// AppendFloat32 appends x to dst as float32, little-endian (codec F32).
func AppendFloat32(dst []byte, x []float32) []byte {
	for _, v := range x {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	return dst
}

// DecodeFloat32 reads len(dst) float32 values from src (codec F32).
// It panics unless src has exactly that many.
func DecodeFloat32(dst []float32, src []byte) {
	if len(src) != 4*len(dst) {
		panic("merkle: encoded length does not fit")
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}
