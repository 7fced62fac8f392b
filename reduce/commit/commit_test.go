package commit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"math"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

func key(i int) ed25519.PrivateKey {
	s := sha256.Sum256([]byte{byte(i)})
	return ed25519.NewKeyFromSeed(s[:])
}

func id(i int) signed.PeerID { return signed.IDOf(key(i).Public().(ed25519.PublicKey)) }

// scene is a small round in which everybody has said everything.
type scene struct {
	shape     Shape
	gradients [][]float32
	leaves    [][]merkle.Digest
	claims    []Signed[Claim]
	roster    Signed[Roster]
	average   []float32
	averaged  []merkle.Digest
}

const validator = 100

// newScene sets up n members with keys 0 to n-1, uids 10 to 10+n-1.
func newScene(n int) *scene {
	s := &scene{shape: Shape{merkle.CodecF32, 45, 4, 2}}
	r := Roster{
		Epoch: 3, Attempt: 1, Codec: s.shape.Codec, Elements: 45, LeafElements: 4, ChunkLeaves: 2,
		Deadline: 1000, MinGroup: 1, Seed: 7, Observers: []Observer{{id(validator), "v:1"}},
	}
	parts := Parts(s.shape.Chunks(), n, r.Seed)
	for i := range n {
		x := make([]float32, s.shape.Elements)
		for k := range x {
			x[k] = float32(k*k-17*i) / 3
		}
		leaves := s.shape.Digests(merkle.KindGradient, x)
		claim := Seal(Claim{Epoch: 3, UID: uint32(10 + i), Tokens: uint64(5 + i), Gradient: merkle.Root(leaves), Elements: 45}, key(i))
		s.gradients, s.leaves, s.claims = append(s.gradients, x), append(s.leaves, leaves), append(s.claims, claim)
		r.Members = append(r.Members, Member{
			UID: uint32(10 + i), Peer: id(i), Address: "m:1", Claim: claim.Digest(),
			Gradient: merkle.Root(leaves), Tokens: uint64(5 + i), Part: parts[i],
		})
	}
	s.roster = Seal(r, key(validator))
	sum := NewSum(s.shape.Elements)
	for _, x := range s.gradients {
		sum.Add(x)
	}
	s.average = make([]float32, s.shape.Elements)
	sum.Mean(s.average, r.Tokens())
	s.averaged = s.shape.Digests(merkle.KindAverage, s.average)
	return s
}

// encoded returns the bytes of leaf i of x.
func (s *scene) encoded(x []float32, i int) []byte {
	lo, hi := s.shape.LeafSpan(i)
	b := make([]byte, s.shape.Bytes(hi-lo))
	Encode(b, x[lo:hi])
	return b
}

func (s *scene) header(member int, stream Stream, chunk int, leaves []merkle.Digest) Signed[Header] {
	lo, hi := s.shape.ChunkLeafSpan(chunk)
	return Seal(Header{s.roster.Digest(), uint32(10 + member), stream, uint32(chunk), leaves[lo:hi]}, key(member))
}

func (s *scene) receipt(member int, averaged []merkle.Digest) Signed[Receipt] {
	lo, hi := s.shape.PartLeafSpan(s.roster.Doc().Members[member].Part)
	return Seal(Receipt{s.roster.Digest(), uint32(10 + member), s.roster.Doc().Inputs(), merkle.Root(averaged[lo:hi])}, key(member))
}

func TestDocumentsRoundTrip(t *testing.T) {
	s := newScene(3)
	again, err := Open[Roster](s.roster.Envelope())
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest() != s.roster.Digest() || again.Signer() != id(validator) || again.Doc().Tokens() != 5+6+7 {
		t.Errorf("the roster came back as %+v", again)
	}
	r := again.Doc()
	if r.Index(id(1)) != 1 || r.Index(id(9)) != -1 || r.IndexUID(12) != 2 || r.IndexUID(9) != -1 || !r.Observes(id(validator)) || r.Observes(id(0)) {
		t.Error("members are not found by peer or uid")
	}
	for c := range uint32(s.shape.Chunks()) {
		if o := r.Owner(c); o < 0 || !r.Members[o].Part.Holds(c) {
			t.Errorf("chunk %d has owner %d", c, o)
		}
	}
	if _, err := Open[Claim](s.roster.Envelope()); fault.KindOf(err) != fault.Damaged {
		t.Errorf("a roster opens as a claim: %v", err)
	}
	if (Signed[Vote]{}).IsZero() != true || s.roster.IsZero() {
		t.Error("IsZero")
	}
}

// TestCheckRefuses changes one field of a good document at a time.
func TestCheckRefuses(t *testing.T) {
	good := newScene(3)
	change := func(f func(*Roster)) anyDocument {
		r := good.roster.Doc()
		r.Members = append([]Member(nil), r.Members...)
		f(&r)
		return docOf(r)
	}
	claim := func(f func(*Claim)) anyDocument {
		c := good.claims[0].Doc()
		f(&c)
		return docOf(c)
	}
	vote := func(v Vote) anyDocument { return docOf(v) }
	one := merkle.Digest{1}
	for name, d := range map[string]anyDocument{
		"epoch 0":               change(func(r *Roster) { r.Epoch = 0 }),
		"attempt 0":             change(func(r *Roster) { r.Attempt = 0 }),
		"nobody":                change(func(r *Roster) { r.Members = nil }),
		"uids descend":          change(func(r *Roster) { r.Members[0], r.Members[1] = r.Members[1], r.Members[0] }),
		"uid twice":             change(func(r *Roster) { r.Members[1].UID = r.Members[0].UID }),
		"peer twice":            change(func(r *Roster) { r.Members[1].Peer = r.Members[0].Peer }),
		"part by no rule":       change(func(r *Roster) { r.Members[1].Part.First++ }),
		"no tokens":             change(func(r *Roster) { r.Members[1].Tokens = 0 }),
		"tokens overflow":       change(func(r *Roster) { r.Members[0].Tokens, r.Members[1].Tokens = MaxTokens-1, 2 }),
		"min_group":             change(func(r *Roster) { r.MinGroup = 4 }),
		"no deadline":           change(func(r *Roster) { r.Deadline = 0 }),
		"huge":                  change(func(r *Roster) { r.Elements = MaxElements + 1 }),
		"no elements":           change(func(r *Roster) { r.Elements = 0 }),
		"codec":                 change(func(r *Roster) { r.Codec = 9 }),
		"chunk too large":       change(func(r *Roster) { r.ChunkLeaves = 1 << 19 }),
		"leaf too large":        change(func(r *Roster) { r.LeafElements = merkle.LeafElements + 1 }),
		"address too long":      change(func(r *Roster) { r.Members[0].Address = string(make([]byte, 129)) }),
		"observer's address":    change(func(r *Roster) { r.Observers = []Observer{{id(0), "\xff"}} }),
		"too many observers":    change(func(r *Roster) { r.Observers = make([]Observer, MaxObservers+1) }),
		"claim of epoch 0":      claim(func(c *Claim) { c.Epoch = 0 }),
		"claim without tokens":  claim(func(c *Claim) { c.Tokens = 0 }),
		"claim with NaN loss":   claim(func(c *Claim) { c.LossBits = math.Float64bits(math.NaN()) }),
		"claim with Inf loss":   claim(func(c *Claim) { c.LossBits = math.Float64bits(math.Inf(1)) }),
		"claim of nothing":      claim(func(c *Claim) { c.Elements = 0 }),
		"claim of too much":     claim(func(c *Claim) { c.Segments = make([]uint64, MaxSegments+1) }),
		"ok without result":     vote(Vote{OK: true, Reduced: true}),
		"fail with result":      vote(Vote{Result: one}),
		"ok with blame":         vote(Vote{OK: true, Result: one, Reduced: true, Blames: []Blame{{}}}),
		"ok but not reduced":    vote(Vote{OK: true, Result: one}),
		"too many blames":       vote(Vote{Blames: make([]Blame, MaxMembers+1)}),
		"empty set":             docOf(Set{}),
		"header without leaves": docOf(Header{Stream: Scatter}),
		"header of no stream":   docOf(Header{Leaves: []merkle.Digest{one}}),
		"header too long":       docOf(Header{Stream: Gather, Leaves: make([]merkle.Digest, MaxChunkLeaves+1)}),
		"no verdict":            docOf(Decision{Epoch: 1, Attempt: 1}),
		"commit of nothing":     docOf(Decision{Epoch: 1, Attempt: 1, Verdict: Commit}),
		"abort with result":     docOf(Decision{Epoch: 1, Attempt: 1, Verdict: Abort, Result: one}),
		"decision of epoch 0":   docOf(Decision{Attempt: 1, Verdict: Abort}),
		"too many excluded":     docOf(Decision{Epoch: 1, Attempt: 1, Verdict: Abort, Excluded: make([]Exclusion, MaxMembers+1)}),
	} {
		if err := d.open(); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := change(func(*Roster) {}).open(); err != nil {
		t.Errorf("the good roster is refused: %v", err)
	}
}

// anyDocument hides a document's type, so that a table can hold all of them.
type anyDocument struct{ open func() error }

func docOf[T Document](doc T) anyDocument {
	return anyDocument{func() error {
		_, err := Open[T](Seal(doc, key(0)).Envelope())
		return err
	}}
}

func TestPartsCoverEverythingOnce(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 64, 256} {
		for _, chunks := range []int{1, 2, 5, 63, 625, 16384} {
			for s := range uint64(3) {
				owned := make([]int, chunks)
				least, most := uint32(math.MaxUint32), uint32(0)
				for _, p := range Parts(chunks, n, s) {
					for c := p.First; c < p.First+p.Count; c++ {
						owned[c]++
					}
					least, most = min(least, p.Count), max(most, p.Count)
				}
				for c, k := range owned {
					if k != 1 {
						t.Fatalf("n=%d chunks=%d: chunk %d has %d owners", n, chunks, c, k)
					}
				}
				if most-least > 1 {
					t.Errorf("n=%d chunks=%d: parts of %d and of %d chunks", n, chunks, least, most)
				}
			}
		}
	}
	same := true
	for s := range uint64(8) {
		same = same && Parts(64, 4, s)[0] == Parts(64, 4, 0)[0]
	}
	if same {
		t.Error("the seed does not move the owners")
	}
}

func TestShapeIsTheGridOfN22(t *testing.T) {
	n := 2*merkle.ChunkElements + 1234
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i)
	}
	g := merkle.Grid{Kind: merkle.KindGradient, Codec: merkle.CodecF32, Elements: n}
	s := StandardShape(n)
	if i := merkle.FirstDifference(g.Digests(x), s.Digests(merkle.KindGradient, x)); i >= 0 {
		t.Errorf("leaf %d differs from the grid's", i)
	}
	if g.Leaves() != s.Leaves() || g.Chunks() != s.Chunks() {
		t.Error("counts differ from the grid's")
	}
	var all []merkle.Digest
	for c := range s.Chunks() {
		lo, hi := s.ChunkSpan(c)
		b := make([]byte, s.Bytes(hi-lo))
		Encode(b, x[lo:hi])
		all = append(all, s.ChunkDigests(merkle.KindGradient, c, b)...)
		if s.ChunkDigests(merkle.KindGradient, c, b[1:]) != nil {
			t.Error("a chunk of the wrong length is hashed")
		}
	}
	if merkle.FirstDifference(all, g.Digests(x)) >= 0 {
		t.Error("leaves hashed by chunk differ")
	}
}

func TestCodec(t *testing.T) {
	values := []float32{0, float32(math.Copysign(0, -1)), 1, -1, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, 3.5, 1e-39}
	bad := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.Float32frombits(0x7f800001), math.Float32frombits(0xffffffff)}
	for n := range 9 {
		b := make([]byte, 4*n)
		Encode(b, values[:n])
		back := make([]float32, n)
		if !Decode(back, b) || Finite(b) != -1 {
			t.Errorf("%d finite values are taken for others", n)
		}
		for i := range back {
			if math.Float32bits(back[i]) != math.Float32bits(values[i]) {
				t.Errorf("value %d came back as %v", i, back[i])
			}
		}
		for at := range n {
			for _, v := range bad {
				x := append([]float32(nil), values[:n]...)
				x[at] = v
				Encode(b, x)
				if Decode(back, b) || Finite(b) != at {
					t.Errorf("%v at %d of %d is not seen", v, at, n)
				}
			}
		}
	}
}

// TestCodecEqualsItsDefinition compares the machine's copy with the loop.
func TestCodecEqualsItsDefinition(t *testing.T) {
	for _, n := range []int{0, 1, 3, 16, 1001} {
		x := make([]float32, n)
		for i := range x {
			x[i] = math.Float32frombits(uint32(i) * 2654435761)
		}
		for _, nan := range []int{-1, 0, n - 1} {
			if nan >= 0 && nan < n {
				x[nan] = float32(math.Inf(1))
			}
			a, b := make([]byte, 4*n), make([]byte, 4*n)
			Encode(a, x)
			encodeGeneric(b, x)
			if !bytes.Equal(a, b) {
				t.Fatalf("%d elements encode to other bytes", n)
			}
			y, z := make([]float32, n), make([]float32, n)
			if Decode(y, a) != decodeGeneric(z, a) {
				t.Errorf("%d elements: finite differs", n)
			}
			for i := range y {
				if math.Float32bits(y[i]) != math.Float32bits(z[i]) || math.Float32bits(y[i]) != math.Float32bits(x[i]) {
					t.Fatalf("element %d of %d decodes to other bits", i, n)
				}
			}
		}
	}
}

func TestSumIsN16(t *testing.T) {
	s := NewSum(2)
	for _, x := range [][]float32{{1 << 60, 1}, {-(1 << 60), 2}, {1, 4}} {
		s.Add(x)
	}
	out := make([]float32, 2)
	s.Mean(out, 3)
	if out[0] != float32(1.0/3) || out[1] != float32(7.0/3) {
		t.Errorf("mean %v", out)
	}
	s.Reset(1)
	s.Add([]float32{6})
	s.Mean(out[:1], 4)
	if out[0] != 1.5 {
		t.Errorf("after Reset: %v", out[0])
	}
}

func TestCertificates(t *testing.T) {
	d := Decision{Epoch: 1, Attempt: 1, Verdict: Commit, Result: merkle.Digest{1}}
	other := d
	other.Result[0]++
	v := Validators{Peers: []signed.PeerID{id(1), id(2), id(3)}, Need: 2}
	cert := func(docs ...Signed[Decision]) Certificate {
		var c Certificate
		for _, d := range docs {
			c.Signatures = append(c.Signatures, d.Envelope())
		}
		return c
	}
	c, err := v.Decision(cert(Seal(d, key(1)), Seal(d, key(3))))
	if err != nil || c.Decision().Result != d.Result || len(c.Certificate().Signatures) != 2 || c.IsZero() {
		t.Fatalf("a good certificate: %v", err)
	}
	for name, tt := range map[string]struct {
		c    Certificate
		v    Validators
		kind fault.Kind
	}{
		"none":         {Certificate{}, v, fault.Undecided},
		"one of two":   {cert(Seal(d, key(1))), v, fault.Undecided},
		"one twice":    {cert(Seal(d, key(1)), Seal(d, key(1))), v, fault.Damaged},
		"a stranger":   {cert(Seal(d, key(1)), Seal(d, key(9))), v, fault.Undecided},
		"two opinions": {cert(Seal(d, key(1)), Seal(other, key(2))), v, fault.Damaged},
		"nobody rules": {cert(Seal(d, key(1))), Validators{}, fault.Undecided},
		"garbage":      {Certificate{[]signed.Envelope{{1, 2, 3}}}, v, fault.Damaged},
		"too long":     {Certificate{make([]signed.Envelope, MaxValidators+1)}, v, fault.Damaged},
	} {
		if _, err := tt.v.Decision(tt.c); fault.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Solo(id(1)).Decision(cert(Seal(d, key(1)))); err != nil {
		t.Errorf("one validator alone: %v", err)
	}
}
