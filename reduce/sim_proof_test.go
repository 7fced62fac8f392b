package reduce

import (
	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// provenFirst: no decision is journalled that rests on evidence which was not
// handed over before.
func (c *checker) provenFirst(r Record) {
	if r.Kind != RecordCertificate {
		return
	}
	s, err := commit.Open[commit.Decision](r.Envelopes[0])
	if !c.must(err) {
		return
	}
	d := s.Doc()
	for _, x := range d.Excluded {
		if x.Kind.Provable() && !c.proved[slot{d.Epoch, x.UID}] && s.Signer() == c.w.validator().id {
			c.fail(12, "uid %d is convicted of %s in a decision that comes before its evidence", x.UID, x.Kind)
		}
	}
}

func (c *checker) convicted(e commit.Evidence) {
	again, err := commit.ParseEvidence(e.Encode())
	if !c.must(err) {
		return
	}
	f, err := commit.Judge(again)
	if err != nil {
		c.fail(12, "evidence of %s does not convict: %v", e.Kind, err)
		return
	}
	n := c.w.nodeOf(f.Accused)
	if n == nil || n.role == honest {
		c.fail(12, "an honest peer is convicted: %s", f.Text)
	}
	c.evidence++
}

// audit redoes leaves of the average from the members' own gradients: it must
// convict exactly the owners whose sum is wrong.
func (c *checker) audit(a Concluded) {
	r := a.Roster.Doc()
	shape := r.Shape()
	right := shape.Digests(merkle.KindAverage, c.oracle(r))
	for _, rc := range a.Receipts {
		i := r.Index(rc.Signer())
		member, ok := c.w.nodes[r.Members[i].UID].machines[0].(*Member)
		if !ok || member.round == nil || member.round.id != a.Roster.Digest() {
			continue
		}
		lo, hi := shape.PartLeafSpan(r.Members[i].Part)
		leaves := member.round.member.receipt.Leaves
		if len(leaves) != hi-lo || merkle.Root(leaves) != rc.Doc().Result {
			continue // a liar's machine; its receipt is another one
		}
		sample := -1 // an honest leaf, now and then
		if c.w.rng.IntN(4) == 0 {
			sample = lo + c.w.rng.IntN(hi-lo)
		}
		for leaf := lo; leaf < hi; leaf++ {
			wrong := right[leaf] != leaves[leaf-lo]
			if !wrong && leaf != sample {
				continue
			}
			e := c.auditLeaf(a, rc, leaf, leaves, lo)
			_, err := commit.Judge(e)
			if wrong != (err == nil) {
				c.fail(13, "audit of leaf %d of uid %d: wrong %v, verdict %v", leaf, r.Members[i].UID, wrong, err)
			}
			if err == nil {
				c.convicted(e)
			}
		}
	}
}

func (c *checker) auditLeaf(a Concluded, rc commit.Signed[commit.Receipt], leaf int, leaves []merkle.Digest, lo int) commit.Evidence {
	r := a.Roster.Doc()
	e := commit.Evidence{
		Kind: commit.WrongSum, Roster: a.Roster.Envelope(), First: rc.Envelope(),
		Leaf: uint32(leaf), LeafDigest: leaves[leaf-lo], Path: merkle.Prove(leaves, leaf-lo),
	}
	from, to := r.Shape().LeafSpan(leaf)
	for _, m := range r.Members {
		d := c.w.nodes[m.UID].work(r.Epoch, r.Base)
		b := make([]byte, 4*(to-from))
		commit.Encode(b, d.gradient[from:to])
		e.Inputs = append(e.Inputs, b)
		e.Paths = append(e.Paths, merkle.Prove(d.leaves, leaf))
	}
	return e
}
