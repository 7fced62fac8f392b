package validate

import (
	"slices"
	"testing"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

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
