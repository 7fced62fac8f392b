package validate

import (
	"crypto/sha256"
	"encoding/binary"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/seed"
	"lockstep/internal/signed"
	"lockstep/model"
)

// ChallengeChunks is how many chunks of the state a bandwidth query asks for:
// at most 4 MiB, as a chunk has at most 512 KiB.
const ChallengeChunks = 8

// ChunkRef names one chunk of a state.
type ChunkRef struct {
	Vector merkle.Kind `json:"vector"` // KindParameters, KindMomentM or KindMomentV
	Chunk  uint32      `json:"chunk"`
}

// Nonce is a validator's secret of an epoch: 32 bytes that nobody else can know
// before the queries of the epoch are out. The ledger shows it afterwards, so
// that anybody can repeat the choices.
type Nonce [32]byte

// stream returns the random numbers of one choice. Miners cannot predict them,
// and a validator cannot bend them to its liking without another nonce.
func (n Nonce) stream(domain string, about merkle.Digest, args ...uint64) seed.Stream {
	h := sha256.New()
	h.Write([]byte("lockstep/nonce/1"))
	h.Write(n[:])
	h.Write(about[:])
	return seed.New(binary.LittleEndian.Uint64(h.Sum(nil)), domain, args...)
}

// Challenge returns the chunks that the miner on seat uid has to serve of the
// state with the given root: ChallengeChunks different ones among all chunks of
// parameters, m and v, or all of them where there are fewer.
func (n Nonce) Challenge(epoch uint64, state merkle.Digest, uid uint32, peer signed.PeerID, elements int) []ChunkRef {
	kinds := [...]merkle.Kind{merkle.KindParameters, merkle.KindMomentM, merkle.KindMomentV}
	chunks := uint64(merkle.Grid{Elements: elements}.Chunks())
	s := n.stream("validate/bandwidth", state, epoch, uint64(uid), binary.LittleEndian.Uint64(peer[:]))
	order := seed.NewPermutation(uint64(len(kinds))*chunks, s)
	refs := make([]ChunkRef, min(ChallengeChunks, order.Len()))
	for i := range refs {
		at := order.At(uint64(i))
		refs[i] = ChunkRef{kinds[at/chunks], uint32(at % chunks)}
	}
	return refs
}

// StateDigests are the leaf digests of a state: what a served chunk is checked
// against.
type StateDigests struct {
	header           model.Header
	elements         int
	parameters, m, v []merkle.Digest
}

// DigestState hashes a state, of which it keeps nothing else.
func DigestState(s *model.State) *StateDigests {
	d := &StateDigests{
		elements:   s.Layout.Elements,
		parameters: s.Layout.Grid(merkle.KindParameters).Digests(s.Theta),
		m:          s.Layout.Grid(merkle.KindMomentM).Digests(s.M),
		v:          s.Layout.Grid(merkle.KindMomentV).Digests(s.V),
	}
	d.header = model.Header{
		Epoch: s.Epoch, Step: s.Step,
		Parameters: merkle.Root(d.parameters), M: merkle.Root(d.m), V: merkle.Root(d.v),
	}
	return d
}

// Header returns the state in short.
func (d *StateDigests) Header() model.Header { return d.header }

// Check reports whether data, float32 little-endian, is the chunk that ref
// names. Only bytes that pass count for bandwidth. The error is fault.Damaged.
func (d *StateDigests) Check(ref ChunkRef, data []byte) error {
	var digests []merkle.Digest
	switch ref.Vector {
	case merkle.KindParameters:
		digests = d.parameters
	case merkle.KindMomentM:
		digests = d.m
	case merkle.KindMomentV:
		digests = d.v
	}
	g := merkle.Grid{Kind: ref.Vector, Codec: merkle.CodecF32, Elements: d.elements}
	if digests == nil || int64(ref.Chunk) >= int64(g.Chunks()) {
		return fault.Errorf(fault.Damaged, "state chunk %d of vector %d: there is none", ref.Chunk, ref.Vector)
	}
	lo, hi := g.ChunkSpan(int(ref.Chunk))
	if len(data) != 4*(hi-lo) {
		return fault.Errorf(fault.Damaged, "state chunk %d of vector %d has %d bytes, not %d", ref.Chunk, ref.Vector, len(data), 4*(hi-lo))
	}
	for i := int(ref.Chunk) * merkle.ChunkLeaves; len(data) > 0; i++ {
		a, b := g.LeafSpan(i)
		if g.LeafDigest(i, data[:4*(b-a)]) != digests[i] {
			return fault.Errorf(fault.Damaged, "state chunk %d of vector %d: leaf %d is not that of the state", ref.Chunk, ref.Vector, i)
		}
		data = data[4*(b-a):]
	}
	return nil
}
