package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"runtime"
	"testing"
)

func leavesOf(n int) []Digest {
	out := make([]Digest, n)
	for i := range out {
		out[i] = sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
	}
	return out
}

// TestRFC6962Roots compares with the roots of certificate-transparency's
// reference tree over its eight test inputs.
func TestRFC6962Roots(t *testing.T) {
	inputs := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var leaves []Digest
	for i, in := range inputs {
		raw, _ := hex.DecodeString(in)
		leaves = append(leaves, sha256.Sum256(append([]byte{0}, raw...)))
		if got := Root(leaves).String(); got != roots[i] {
			t.Errorf("root over %d leaves = %s, want %s", i+1, got, roots[i])
		}
	}
}

func TestProofs(t *testing.T) {
	for n := 1; n <= 20; n++ {
		leaves := leavesOf(n)
		root := Root(leaves)
		for i := range n {
			p := Prove(leaves, i)
			if !VerifyProof(root, n, i, leaves[i], p) {
				t.Fatalf("n=%d: leaf %d does not verify", n, i)
			}
			wrong := leaves[i]
			wrong[0] ^= 1
			if VerifyProof(root, n, i, wrong, p) {
				t.Fatalf("n=%d: a changed leaf %d verifies", n, i)
			}
			if i+1 < n && VerifyProof(root, n, i+1, leaves[i], p) {
				t.Fatalf("n=%d: leaf %d verifies in place %d", n, i, i+1)
			}
			if VerifyProof(root, n, i, leaves[i], append(p[:len(p):len(p)], leaves[0])) {
				t.Fatalf("n=%d: a path that is too long verifies", n)
			}
			if len(p) > 0 && VerifyProof(root, n, i, leaves[i], p[1:]) {
				t.Fatalf("n=%d: a path that is too short verifies", n)
			}
		}
	}
}

func TestFirstDifference(t *testing.T) {
	a, b := leavesOf(9), leavesOf(9)
	if got := FirstDifference(a, b); got != -1 {
		t.Errorf("equal lists differ at %d", got)
	}
	b[5][31] ^= 1
	if got := FirstDifference(a, b); got != 5 {
		t.Errorf("difference found at %d, want 5", got)
	}
	if got := FirstDifference(a, a[:4]); got != 4 {
		t.Errorf("missing tail found at %d, want 4", got)
	}
}

// TestN22_LeafGrid pins the leaf's preimage, byte by byte, and the shape of
// the grid.
func TestN22_LeafGrid(t *testing.T) {
	g := Grid{Kind: KindGradient, Codec: CodecF32, Elements: ChunkElements + 3}
	if g.Leaves() != 9 || g.Chunks() != 2 {
		t.Fatalf("%d leaves, %d chunks", g.Leaves(), g.Chunks())
	}
	if lo, hi := g.LeafSpan(8); lo != ChunkElements || hi != ChunkElements+3 {
		t.Fatalf("last leaf spans [%d, %d)", lo, hi)
	}
	x := []float32{1, float32(math.Copysign(0, -1)), 3}
	want := sha256.Sum256([]byte("\x00\x0elockstep-num-1\x01\x01" +
		"\x08\x00\x00\x00\x00\x00\x00\x00" + "\x03\x00\x00\x00" +
		"\x00\x00\x80\x3f" + "\x00\x00\x00\x80" + "\x00\x00\x40\x40"))
	if got := g.LeafDigest(8, AppendFloat32(nil, x)); got != want {
		t.Errorf("leaf digest %s, want %x", got, want)
	}
	for _, other := range []Grid{
		{KindAverage, CodecF32, g.Elements},
		{KindGradient, CodecF32 + 1, g.Elements},
	} {
		if other.LeafDigest(8, AppendFloat32(nil, x)) == want {
			t.Errorf("%+v hashes like %+v", other, g)
		}
	}
	x[1] = 0
	if g.LeafDigest(8, AppendFloat32(nil, x)) == want {
		t.Error("-0 and +0 hash alike")
	}
}

func TestDigestsForAnyGOMAXPROCS(t *testing.T) {
	g := Grid{Kind: KindParameters, Codec: CodecF32, Elements: 5*LeafElements + 17}
	x := make([]float32, g.Elements)
	for i := range x {
		x[i] = float32(i) * 0.25
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := g.Digests(x)
	for _, n := range []int{2, 3, 7} {
		runtime.GOMAXPROCS(n)
		if i := FirstDifference(want, g.Digests(x)); i >= 0 {
			t.Errorf("GOMAXPROCS=%d: leaf %d differs", n, i)
		}
	}
	back := make([]float32, 4)
	DecodeFloat32(back, AppendFloat32(nil, x[:4]))
	for i, v := range back {
		if v != x[i] {
			t.Errorf("element %d comes back as %v, was %v", i, v, x[i])
		}
	}
}

func TestDigestText(t *testing.T) {
	d := leavesOf(1)[0]
	got, err := ParseDigest(d.String())
	if err != nil || got != d {
		t.Errorf("ParseDigest(String()) = %v, %v", got, err)
	}
	for _, bad := range []string{"", "00", d.String() + "0", "zz" + d.String()[2:]} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("%q is taken for a digest", bad)
		}
	}
}

func BenchmarkDigests(b *testing.B) {
	g := Grid{Kind: KindGradient, Codec: CodecF32, Elements: 64 * LeafElements}
	x := make([]float32, g.Elements)
	b.SetBytes(4 * int64(g.Elements))
	for b.Loop() {
		g.Digests(x)
	}
}
