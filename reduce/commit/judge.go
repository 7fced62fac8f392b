package commit

import (
	"fmt"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

// Finding is what Judge concludes.
type Finding struct {
	Accused signed.PeerID
	UID     uint32
	Kind    Kind
	Text    string // one line for people
}

// Judge re-decides evidence. A nil error convicts Finding.Accused. Otherwise
// the error is fault.Undecided (the evidence does not prove what it says) or
// fault.Damaged (a part cannot be read).
//
//	Recommit      Roster; First: Opening or Commitment; Second: the Commitment, or none
//	Switch        Roster; First: scatter Header; Leaf, LeafDigest, Path: that leaf under the claimed root
//	NonFinite     Roster; First: Header; Leaf; Data: bytes under one of its digests
//	Fork          Roster; First: gather Header; Second: Receipt; Leaf, LeafDigest, Path: that leaf under the receipt
//	WrongSum      Roster; First: Receipt; Leaf, LeafDigest, Path as for Fork; Inputs, Paths: the leaf of every member
//	Equivocation  First, Second: two documents for one place; Roster, where they name one
//
// No honest member can be convicted: see the package comment.
func Judge(e Evidence) (Finding, error) {
	if e.Kind == Equivocation {
		return judgeEquivocation(e)
	}
	if !e.Kind.Provable() {
		return Finding{}, undecided("%s is no kind that evidence proves", e.Kind)
	}
	roster, err := Open[Roster](e.Roster)
	if err != nil {
		return Finding{}, fmt.Errorf("evidence: roster: %w", err)
	}
	j := judge{e, roster.doc, roster.digest}
	switch e.Kind {
	case Recommit:
		return j.recommit()
	case Switch:
		return j.switched()
	case NonFinite:
		return j.nonFinite()
	case Fork:
		return j.fork()
	default:
		return j.wrongSum()
	}
}

func undecided(format string, args ...any) error {
	return fault.Errorf(fault.Undecided, "evidence: "+format, args...)
}

// judge is the case at hand.
type judge struct {
	e      Evidence
	roster Roster
	id     merkle.Digest // of the roster
}

// member returns the position of a signer whose document names roster and uid.
func (j judge) member(signer signed.PeerID, roster merkle.Digest, uid uint32) (int, error) {
	i := j.roster.Index(signer)
	if roster != j.id || i < 0 || j.roster.Members[i].UID != uid {
		return 0, undecided("the document of %s is not of a member of this roster", signer.Short())
	}
	return i, nil
}

func (j judge) finding(i int, format string, args ...any) (Finding, error) {
	m := j.roster.Members[i]
	text := fmt.Sprintf("uid %d (%s), epoch %d, attempt %d: ", m.UID, m.Peer.Short(), j.roster.Epoch, j.roster.Attempt)
	return Finding{m.Peer, m.UID, j.e.Kind, text + fmt.Sprintf(format, args...)}, nil
}

func (j judge) recommit() (Finding, error) {
	if c, err := Open[Commitment](j.e.First); err == nil {
		i, err := j.member(c.signer, c.doc.Roster, c.doc.UID)
		if err != nil {
			return Finding{}, err
		}
		if m := j.roster.Members[i]; c.doc.Claim != m.Claim || c.doc.Tokens != m.Tokens {
			return j.finding(i, "its commitment names claim %s with %d tokens, the roster has %s with %d",
				c.doc.Claim.Short(), c.doc.Tokens, m.Claim.Short(), m.Tokens)
		}
		return Finding{}, undecided("the commitment agrees with the roster")
	}
	o, err := Open[Opening](j.e.First)
	if err != nil {
		return Finding{}, err
	}
	i, err := j.member(o.signer, o.doc.Roster, o.doc.UID)
	if err != nil {
		return Finding{}, err
	}
	if m := j.roster.Members[i]; o.doc.Root != m.Gradient || o.doc.Claim != m.Claim {
		return j.finding(i, "it claimed gradient %s and opened %s", m.Gradient.Short(), o.doc.Root.Short())
	}
	c, err := Open[Commitment](j.e.Second)
	if err != nil {
		return Finding{}, err
	}
	if _, err := j.member(c.signer, c.doc.Roster, c.doc.UID); err != nil || c.signer != o.signer {
		return Finding{}, undecided("commitment and opening are not of one member")
	}
	if want := Hash(j.id, o.signer, o.doc.Salt, o.doc.Root); c.doc.Hash != want {
		return j.finding(i, "it committed to %s and opened %s", c.doc.Hash.Short(), want.Short())
	}
	return Finding{}, undecided("the opening fits commitment and claim")
}

// header opens First as a chunk header and returns its digest of leaf e.Leaf.
func (j judge) header(stream Stream) (Signed[Header], int, merkle.Digest, error) {
	h, err := Open[Header](j.e.First)
	if err != nil {
		return h, 0, merkle.Digest{}, err
	}
	i, err := j.member(h.signer, h.doc.Roster, h.doc.UID)
	if err != nil {
		return h, 0, merkle.Digest{}, err
	}
	shape := j.roster.Shape()
	if h.doc.Stream != stream || int64(h.doc.Chunk) >= int64(shape.Chunks()) {
		return h, 0, merkle.Digest{}, undecided("the header is of another stream")
	}
	lo, hi := shape.ChunkLeafSpan(int(h.doc.Chunk))
	leaf := int64(j.e.Leaf)
	if leaf < int64(lo) || leaf >= int64(hi) || len(h.doc.Leaves) != hi-lo {
		return h, 0, merkle.Digest{}, undecided("leaf %d is not in the header's chunk", j.e.Leaf)
	}
	return h, i, h.doc.Leaves[int(leaf)-lo], nil
}

func (j judge) switched() (Finding, error) {
	_, i, sent, err := j.header(Scatter)
	if err != nil {
		return Finding{}, err
	}
	m := j.roster.Members[i]
	if !merkle.VerifyProof(m.Gradient, j.roster.Shape().Leaves(), int(j.e.Leaf), j.e.LeafDigest, j.e.Path) {
		return Finding{}, undecided("the claimed leaf is not under the claimed root")
	}
	if sent == j.e.LeafDigest {
		return Finding{}, undecided("leaf %d was sent as claimed", j.e.Leaf)
	}
	return j.finding(i, "leaf %d of its claim is %s, it sent %s", j.e.Leaf, j.e.LeafDigest.Short(), sent.Short())
}

func (j judge) nonFinite() (Finding, error) {
	stream := Scatter
	_, i, sent, err := j.header(stream)
	if err != nil {
		stream = Gather
		_, i, sent, err = j.header(stream)
	}
	if err != nil {
		return Finding{}, err
	}
	shape := j.roster.Shape()
	lo, hi := shape.LeafSpan(int(j.e.Leaf))
	if len(j.e.Data) != shape.Bytes(hi-lo) || shape.LeafDigest(stream.Kind(), int(j.e.Leaf), j.e.Data) != sent {
		return Finding{}, undecided("the bytes are not those of the header")
	}
	at := Finite(j.e.Data)
	if at < 0 {
		return Finding{}, undecided("all values are finite")
	}
	return j.finding(i, "element %d of what it sent is NaN or Inf", lo+at)
}

// receipt opens e as a receipt and checks that e.LeafDigest is its leaf e.Leaf.
func (j judge) receipt(e signed.Envelope) (Signed[Receipt], int, error) {
	r, err := Open[Receipt](e)
	if err != nil {
		return r, 0, err
	}
	i, err := j.member(r.signer, r.doc.Roster, r.doc.UID)
	if err != nil {
		return r, 0, err
	}
	if r.doc.Inputs != j.roster.Inputs() {
		return r, i, nil // convicts by itself; see wrongSum
	}
	lo, hi := j.roster.Shape().PartLeafSpan(j.roster.Members[i].Part)
	if int64(j.e.Leaf) < int64(lo) || !merkle.VerifyProof(r.doc.Result, hi-lo, int(j.e.Leaf)-lo, j.e.LeafDigest, j.e.Path) {
		return r, 0, undecided("the leaf is not under the receipt")
	}
	return r, i, nil
}

func (j judge) fork() (Finding, error) {
	h, i, sent, err := j.header(Gather)
	if err != nil {
		return Finding{}, err
	}
	r, _, err := j.receipt(j.e.Second)
	if err != nil {
		return Finding{}, err
	}
	if r.doc.Inputs != j.roster.Inputs() || r.signer != h.signer || sent == j.e.LeafDigest {
		return Finding{}, undecided("receipt and header agree, or are of two members")
	}
	return j.finding(i, "leaf %d of its receipt is %s, it sent %s", j.e.Leaf, j.e.LeafDigest.Short(), sent.Short())
}

func (j judge) wrongSum() (Finding, error) {
	r, i, err := j.receipt(j.e.First)
	if err != nil {
		return Finding{}, err
	}
	if r.doc.Inputs != j.roster.Inputs() {
		return j.finding(i, "its receipt names inputs %s, the roster has %s", r.doc.Inputs.Short(), j.roster.Inputs().Short())
	}
	shape, leaf := j.roster.Shape(), int(j.e.Leaf)
	lo, hi := shape.LeafSpan(leaf)
	if len(j.e.Inputs) != len(j.roster.Members) || len(j.e.Paths) != len(j.roster.Members) {
		return Finding{}, undecided("%d inputs for %d members", len(j.e.Inputs), len(j.roster.Members))
	}
	sum := NewSum(hi - lo)
	x := make([]float32, hi-lo)
	for k, m := range j.roster.Members {
		in := j.e.Inputs[k]
		if len(in) != shape.Bytes(hi-lo) ||
			!merkle.VerifyProof(m.Gradient, shape.Leaves(), leaf, shape.LeafDigest(merkle.KindGradient, leaf, in), j.e.Paths[k]) {
			return Finding{}, undecided("the input of uid %d is not under its claimed root", m.UID)
		}
		if !Decode(x, in) {
			return Finding{}, undecided("the input of uid %d is not finite", m.UID)
		}
		sum.Add(x)
	}
	sum.Mean(x, j.roster.Tokens())
	data := make([]byte, shape.Bytes(hi-lo))
	Encode(data, x)
	want := shape.LeafDigest(merkle.KindAverage, leaf, data)
	if want == j.e.LeafDigest {
		return Finding{}, undecided("the sum is right")
	}
	return j.finding(i, "leaf %d of the average is %s, its receipt has %s", leaf, want.Short(), j.e.LeafDigest.Short())
}
