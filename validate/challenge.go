package validate

import (
	"crypto/sha256"
	"encoding/binary"

	"lockstep/internal/merkle"
	"lockstep/internal/seed"
	"lockstep/internal/signed"
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
