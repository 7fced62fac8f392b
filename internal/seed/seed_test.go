package seed

import "testing"

// TestPhiloxVectors compares with the known answers of Random123's kat_vectors.
func TestPhiloxVectors(t *testing.T) {
	tests := []struct {
		c    [4]uint32
		k    [2]uint32
		want [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{
			[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
			[2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		},
		{
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			[2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	}
	for _, tt := range tests {
		if got := philox4x32(tt.c, tt.k); got != tt.want {
			t.Errorf("philox(%x, %x) = %x, want %x", tt.c, tt.k, got, tt.want)
		}
	}
}

func TestStreamsAreSeparate(t *testing.T) {
	seen := map[uint64]string{}
	streams := map[string]Stream{
		"a":     New(1, "a"),
		"b":     New(1, "b"),
		"seed":  New(2, "a"),
		"arg":   New(1, "a", 0),
		"args":  New(1, "a", 0, 0),
		"arg 1": New(1, "a", 1),
	}
	for name, s := range streams {
		for i := range uint64(1000) {
			v := s.At(i)
			if other, ok := seen[v]; ok {
				t.Fatalf("%s and %s share the value %#x", name, other, v)
			}
			seen[v] = name
		}
	}
	one, other := New(1, "a", 5), New(1, "a", 5)
	if one.At(9) != other.At(9) {
		t.Error("the same address gives two values")
	}
}

// TestGoldenStream pins the bits: a change here is a new contract.
func TestGoldenStream(t *testing.T) {
	s := New(38, "golden", 1, 2)
	want := [4]uint64{0xc30cdd1ece0061a, 0xafd6c55552433bef, 0xfaf58ef1ef697b58, 0x1f224d998bba7d6f}
	for i, w := range want {
		if got := s.At(uint64(i)); got != w {
			t.Errorf("At(%d) = %#x, want %#x", i, got, w)
		}
	}
}

func TestPairIsTwoOfAt(t *testing.T) {
	s := New(5, "pair")
	for _, i := range []uint64{0, 1, 7, 1<<31 - 1, 1 << 31, 1 << 40, 1<<63 - 1} {
		if a, b := s.Pair(i); a != s.At(2*i) || b != s.At(2*i+1) {
			t.Errorf("Pair(%d) is not At of its two indices", i)
		}
	}
}

func TestPermutationIsBijective(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 4, 5, 15, 16, 17, 100, 1000, 4097} {
		for key := range uint64(3) {
			p := NewPermutation(n, New(key, "test"))
			seen := make([]bool, n)
			for i := range n {
				v := p.At(i)
				if v >= n || seen[v] {
					t.Fatalf("n=%d: At(%d) = %d is out of range or taken", n, i, v)
				}
				seen[v] = true
			}
		}
	}
}

// TestPermutationMixes rejects the identity and other near-trivial orders: of
// 1000 elements about one is expected to stay in its place.
func TestPermutationMixes(t *testing.T) {
	p := NewPermutation(1000, New(7, "test"))
	fixed, successors := 0, 0
	for i := range uint64(1000) {
		if p.At(i) == i {
			fixed++
		}
		if i > 0 && p.At(i) == p.At(i-1)+1 {
			successors++
		}
	}
	if fixed > 8 || successors > 8 {
		t.Errorf("%d fixed points and %d successors in 1000", fixed, successors)
	}
}

func TestBelowCoversItsRange(t *testing.T) {
	s := New(1, "below")
	var count [10]int
	for i := range uint64(10000) {
		count[s.Below(i, 10)]++
	}
	for v, c := range count {
		if c < 850 || c > 1150 {
			t.Errorf("value %d drawn %d times of 10000", v, c)
		}
	}
}
