package commit

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

// accusation is a piece of evidence, against the member with index 1.
type accusation struct {
	name   string
	honest Evidence // the same bundle when nothing is wrong
	guilty Evidence
}

// lies returns evidence of every kind, each beside what an honest member would
// have left in its place.
func lies(s *scene) []accusation {
	const m = 1
	member := s.roster.Doc().Members[m]
	other := slices.Clone(s.gradients[m])
	other[5]++ // leaf 1, chunk 0
	otherLeaves := s.shape.Digests(merkle.KindGradient, other)

	part := member.Part
	lo, _ := s.shape.PartLeafSpan(part)
	chunk := int(part.First)
	wrong := slices.Clone(s.average)
	from, _ := s.shape.LeafSpan(lo)
	wrong[from]++
	wrongLeaves := s.shape.Digests(merkle.KindAverage, wrong)

	salt := [32]byte{7}
	commitment := Commitment{s.roster.Digest(), member.UID, member.Claim, member.Tokens, Hash(s.roster.Digest(), member.Peer, salt, member.Gradient)}
	opening := Opening{s.roster.Digest(), member.UID, member.Claim, member.Gradient, salt}
	cheat, saltier, greedy := opening, opening, commitment
	cheat.Root = merkle.Root(otherLeaves)
	saltier.Salt[0]++
	greedy.Tokens++

	out := []accusation{
		{"switch",
			s.switched(m, s.header(m, Scatter, 0, s.leaves[m]), 1),
			s.switched(m, s.header(m, Scatter, 0, otherLeaves), 1)},
		{"recommit",
			Evidence{Kind: Recommit, First: Seal(opening, key(m)).Envelope(), Second: Seal(commitment, key(m)).Envelope()},
			Evidence{Kind: Recommit, First: Seal(cheat, key(m)).Envelope()}},
		{"recommit by salt",
			Evidence{Kind: Recommit, First: Seal(opening, key(m)).Envelope(), Second: Seal(commitment, key(m)).Envelope()},
			Evidence{Kind: Recommit, First: Seal(saltier, key(m)).Envelope(), Second: Seal(commitment, key(m)).Envelope()}},
		{"recommit by tokens",
			Evidence{Kind: Recommit, First: Seal(commitment, key(m)).Envelope()},
			Evidence{Kind: Recommit, First: Seal(greedy, key(m)).Envelope()}},
		{"fork",
			s.forked(m, s.header(m, Gather, chunk, s.averaged), s.averaged, lo),
			s.forked(m, s.header(m, Gather, chunk, wrongLeaves), s.averaged, lo)},
		{"wrong sum",
			s.summed(s.receipt(m, s.averaged), s.averaged, lo, lo),
			s.summed(s.receipt(m, wrongLeaves), wrongLeaves, lo, lo)},
		{"equivocation",
			Evidence{Kind: Equivocation, First: s.receipt(m, s.averaged).Envelope(), Second: s.receipt(m, s.averaged).Envelope()},
			Evidence{Kind: Equivocation, First: s.receipt(m, s.averaged).Envelope(), Second: s.receipt(m, wrongLeaves).Envelope()}},
	}
	poisoned := slices.Clone(s.gradients[m])
	poisoned[6] = float32(math.Inf(1))
	poisonedLeaves := s.shape.Digests(merkle.KindGradient, poisoned)
	out = append(out, accusation{"non-finite",
		Evidence{Kind: NonFinite, First: s.header(m, Scatter, 0, s.leaves[m]).Envelope(), Leaf: 1, Data: s.encoded(s.gradients[m], 1)},
		Evidence{Kind: NonFinite, First: s.header(m, Scatter, 0, poisonedLeaves).Envelope(), Leaf: 1, Data: s.encoded(poisoned, 1)}})
	inputs := s.receipt(m, s.averaged).Doc()
	inputs.Inputs[0]++
	out = append(out, accusation{"receipt for other inputs",
		s.summed(s.receipt(m, s.averaged), s.averaged, lo, lo),
		Evidence{Kind: WrongSum, First: Seal(inputs, key(m)).Envelope()}})
	for i := range out {
		out[i].honest.Roster, out[i].guilty.Roster = s.roster.Envelope(), s.roster.Envelope()
	}
	return out
}

func (s *scene) switched(m int, h Signed[Header], leaf int) Evidence {
	return Evidence{
		Kind: Switch, First: h.Envelope(), Leaf: uint32(leaf),
		LeafDigest: s.leaves[m][leaf], Path: merkle.Prove(s.leaves[m], leaf),
	}
}

func (s *scene) forked(m int, h Signed[Header], averaged []merkle.Digest, leaf int) Evidence {
	lo, hi := s.shape.PartLeafSpan(s.roster.Doc().Members[m].Part)
	return Evidence{
		Kind: Fork, First: h.Envelope(), Second: s.receipt(m, averaged).Envelope(), Leaf: uint32(leaf),
		LeafDigest: averaged[leaf], Path: merkle.Prove(averaged[lo:hi], leaf-lo),
	}
}

func (s *scene) summed(r Signed[Receipt], averaged []merkle.Digest, leaf, lo int) Evidence {
	_, hi := s.shape.PartLeafSpan(s.roster.Doc().Members[s.roster.Doc().Index(r.Signer())].Part)
	e := Evidence{
		Kind: WrongSum, First: r.Envelope(), Leaf: uint32(leaf),
		LeafDigest: averaged[leaf], Path: merkle.Prove(averaged[lo:hi], leaf-lo),
	}
	for i, x := range s.gradients {
		e.Inputs = append(e.Inputs, s.encoded(x, leaf))
		e.Paths = append(e.Paths, merkle.Prove(s.leaves[i], leaf))
	}
	return e
}

func TestJudgeConvictsLiarsOnly(t *testing.T) {
	s := newScene(3)
	for _, a := range lies(s) {
		guilty, err := ParseEvidence(a.guilty.Encode())
		if err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		if guilty.Digest() != a.guilty.Digest() {
			t.Errorf("%s: the digest changed on the way", a.name)
		}
		f, err := Judge(guilty)
		if err != nil {
			t.Errorf("%s: the liar goes free: %v", a.name, err)
		} else if f.Accused != id(1) || f.UID != 11 || f.Kind != a.guilty.Kind || f.Text == "" {
			t.Errorf("%s: finding %+v", a.name, f)
		}
		if f, err := Judge(a.honest); fault.KindOf(err) != fault.Undecided {
			t.Errorf("%s: an honest member is convicted: %+v, %v", a.name, f, err)
		}
	}
}

// TestTamperedEvidenceConvictsNobodyElse changes bytes all over each piece of
// evidence: it may fall apart, or still convict the liar, but nobody else.
func TestTamperedEvidenceConvictsNobodyElse(t *testing.T) {
	s := newScene(3)
	for _, a := range lies(s) {
		raw := a.guilty.Encode()
		for i := 0; i < len(raw); i += 13 {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << (i % 8)
			e, err := ParseEvidence(bad)
			if err != nil {
				continue
			}
			if f, err := Judge(e); err == nil && f.Accused != id(1) {
				t.Fatalf("%s, byte %d: convicts %s", a.name, i, f.Accused.Short())
			}
		}
	}
}

// TestForgedEvidence takes honest documents and combines them in every way that
// the kinds allow.
func TestForgedEvidence(t *testing.T) {
	s := newScene(2)
	salt := [32]byte{1}
	var envelopes []signed.Envelope
	for i := range 2 {
		m := s.roster.Doc().Members[i]
		lo, _ := s.shape.PartLeafSpan(m.Part)
		envelopes = append(envelopes,
			s.claims[i].Envelope(), s.header(i, Scatter, 0, s.leaves[i]).Envelope(), s.header(i, Scatter, 1, s.leaves[i]).Envelope(),
			s.header(i, Gather, lo/s.shape.ChunkLeaves, s.averaged).Envelope(), s.receipt(i, s.averaged).Envelope(),
			Seal(Commitment{s.roster.Digest(), m.UID, m.Claim, m.Tokens, Hash(s.roster.Digest(), m.Peer, salt, m.Gradient)}, key(i)).Envelope(),
			Seal(Opening{s.roster.Digest(), m.UID, m.Claim, m.Gradient, salt}, key(i)).Envelope())
	}
	for _, kind := range []Kind{Missing, Recommit, Switch, NonFinite, Fork, Equivocation, WrongSum} {
		for _, first := range envelopes {
			for _, second := range envelopes {
				for leaf := range 2 {
					e := Evidence{Kind: kind, Roster: s.roster.Envelope(), First: first, Second: second, Leaf: uint32(leaf), LeafDigest: merkle.Digest{1}}
					if f, err := Judge(e); err == nil {
						t.Fatalf("%s: %s", kind, f.Text)
					}
					if kind != Switch && kind != NonFinite && kind != Fork {
						break // the leaf makes no difference
					}
				}
			}
		}
	}
}

// TestRosterOfAnotherKey: a roster that a stranger made up binds nobody.
func TestRosterOfAnotherKey(t *testing.T) {
	s := newScene(3)
	made := s.roster.Doc()
	made.Members = slices.Clone(made.Members)
	made.Members[1].Gradient[0]++
	forged := Seal(made, key(9))
	opening := Seal(Opening{s.roster.Digest(), 11, made.Members[1].Claim, s.roster.Doc().Members[1].Gradient, [32]byte{}}, key(1))
	if f, err := Judge(Evidence{Kind: Recommit, Roster: forged.Envelope(), First: opening.Envelope()}); err == nil {
		t.Errorf("convicted under a roster it never saw: %s", f.Text)
	}
}

func TestParseEvidenceRefuses(t *testing.T) {
	s := newScene(3)
	e := lies(s)[5].guilty
	good := e.Encode()
	for name, b := range map[string][]byte{
		"nothing":       nil,
		"length only":   {9, 0, 0, 0},
		"length beyond": {255, 255, 255, 255, 0},
		"uneven inputs": append(bytes.Clone(good), 1),
		"inputs of none": func() []byte {
			e := e
			e.Paths, e.Inputs = nil, nil
			return append(e.Encode(), 1, 2, 3)
		}(),
	} {
		if _, err := ParseEvidence(b); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !(Evidence{}).Digest().IsZero() {
		t.Error("no evidence has a digest")
	}
}

func FuzzParseEvidence(f *testing.F) {
	s := newScene(2)
	for _, a := range lies(s) {
		f.Add(a.guilty.Encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseEvidence(data)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Encode(), data) {
			t.Error("evidence re-encodes to other bytes")
		}
		if finding, err := Judge(e); err == nil && finding.Accused != id(1) {
			t.Errorf("convicts %s: %s", finding.Accused.Short(), finding.Text)
		}
	})
}

func FuzzOpen(f *testing.F) {
	s := newScene(2)
	f.Add([]byte(s.roster.Envelope()))
	f.Add([]byte(s.claims[0].Envelope()))
	f.Add([]byte(s.header(0, Scatter, 0, s.leaves[0]).Envelope()))
	f.Add([]byte(s.receipt(1, s.averaged).Envelope()))
	f.Add([]byte(Seal(Vote{Epoch: 1, Blames: []Blame{{UID: 1, Kind: Missing}}}, key(0)).Envelope()))
	f.Add([]byte(Seal(Decision{Epoch: 1, Attempt: 1, Verdict: Abort}, key(0)).Envelope()))
	f.Fuzz(func(t *testing.T, data []byte) {
		try := func(again signed.Envelope, err error) {
			if err == nil && !bytes.Equal(again, data) {
				t.Error("an envelope changed by being opened")
			}
		}
		tryOpen[Claim](data, try)
		tryOpen[Roster](data, try)
		tryOpen[Commitment](data, try)
		tryOpen[Set](data, try)
		tryOpen[Opening](data, try)
		tryOpen[Header](data, try)
		tryOpen[Receipt](data, try)
		tryOpen[Vote](data, try)
		tryOpen[Decision](data, try)
		tryOpen[Complaint](data, try)
	})
}

func tryOpen[T Document](data []byte, try func(signed.Envelope, error)) {
	s, err := Open[T](data)
	try(s.Envelope(), err)
}
