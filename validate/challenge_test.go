package validate

import (
	"slices"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

// served returns the bytes of a chunk of the base state.
func (w *world) served(ref ChunkRef) []byte {
	vectors := map[merkle.Kind][]float32{
		merkle.KindParameters: w.base.Theta, merkle.KindMomentM: w.base.M, merkle.KindMomentV: w.base.V,
	}
	lo, hi := w.base.Layout.Grid(ref.Vector).ChunkSpan(int(ref.Chunk))
	return merkle.AppendFloat32(nil, vectors[ref.Vector][lo:hi])
}

func TestChallenge(t *testing.T) {
	w := newWorld(t)
	w.step(t)
	digests := DigestState(w.base)
	if digests.Header() != w.base.Header() {
		t.Errorf("header %+v, the state's is %+v", digests.Header(), w.base.Header())
	}
	refs := Nonce{1}.Challenge(2, w.base.Root(), 0, peer(0), w.base.Layout.Elements)
	for _, ref := range refs {
		data := w.served(ref)
		if err := digests.Check(ref, data); err != nil {
			t.Error(err)
		}
		for _, at := range []int{0, len(data) / 2, len(data) - 1} {
			data[at] ^= 1
			if err := digests.Check(ref, data); fault.KindOf(err) != fault.Damaged {
				t.Errorf("byte %d changed: %v", at, err)
			}
			data[at] ^= 1
		}
		if err := digests.Check(ref, data[4:]); err == nil {
			t.Error("a short chunk passed")
		}
		other := ref
		other.Vector = merkle.KindParameters + (ref.Vector-merkle.KindParameters+1)%3
		if err := digests.Check(other, data); err == nil {
			t.Errorf("a chunk of vector %d passed for one of %d", ref.Vector, other.Vector)
		}
	}
	for _, ref := range []ChunkRef{{merkle.KindGradient, 0}, {merkle.KindParameters, 1 << 30}, {99, 0}} {
		if err := digests.Check(ref, nil); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%+v: %v", ref, err)
		}
	}
}

func TestChallengeIsUnpredictable(t *testing.T) {
	const elements = 82_000_000
	draw := func(n Nonce, epoch uint64, root merkle.Digest, uid uint32, p signed.PeerID) []ChunkRef {
		return n.Challenge(epoch, root, uid, p, elements)
	}
	base := draw(Nonce{}, 1, merkle.Digest{}, 0, signed.PeerID{})
	if len(base) != ChallengeChunks {
		t.Fatalf("%d chunks", len(base))
	}
	for i, ref := range base {
		if slices.Contains(base[:i], ref) {
			t.Errorf("%+v is asked for twice", ref)
		}
	}
	for name, other := range map[string][]ChunkRef{
		"nonce": draw(Nonce{31: 1}, 1, merkle.Digest{}, 0, signed.PeerID{}),
		"epoch": draw(Nonce{}, 2, merkle.Digest{}, 0, signed.PeerID{}),
		"state": draw(Nonce{}, 1, merkle.Digest{1}, 0, signed.PeerID{}),
		"uid":   draw(Nonce{}, 1, merkle.Digest{}, 1, signed.PeerID{}),
		"peer":  draw(Nonce{}, 1, merkle.Digest{}, 0, signed.PeerID{1}),
	} {
		if slices.Equal(base, other) {
			t.Errorf("the choice does not depend on the %s", name)
		}
	}
	var vectors [6]int
	for i := range 200 {
		for _, ref := range draw(Nonce{byte(i), byte(i >> 8)}, 1, merkle.Digest{}, 0, signed.PeerID{}) {
			vectors[ref.Vector]++
		}
	}
	for _, k := range []merkle.Kind{merkle.KindParameters, merkle.KindMomentM, merkle.KindMomentV} {
		if vectors[k] < 400 || vectors[k] > 670 {
			t.Errorf("vector %d is drawn %d times of 1600", k, vectors[k])
		}
	}
	if got := (Nonce{}).Challenge(1, merkle.Digest{}, 0, signed.PeerID{}, 1); len(got) != 3 {
		t.Errorf("of a state of three chunks %d are asked for", len(got))
	}
}
