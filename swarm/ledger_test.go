package swarm

import (
	"testing"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
	"lockstep/validate/ledger"
)

// TestLedgerAloneLeadsToTheCommitments: from the bytes in a run's ledger, and
// nothing else, every member's commitment follows from the gradient that it
// claimed and the salt that it opened.
func TestLedgerAloneLeadsToTheCommitments(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 3, 0, 2)
	v := n.validator()
	n.miners()
	n.finish(v)
	type member struct {
		epoch uint64
		uid   uint32
	}
	claimed := map[member]merkle.Digest{}
	hidden := map[member]commit.Commitment{}
	derived := 0
	_, err := ledger.Walk(n.folder("validator").Ledger(), func(e ledger.Entry) error {
		switch e.Kind {
		case "claim":
			c := opened[commit.Claim](t, e.Signed)
			claimed[member{e.Epoch, c.UID}] = c.Gradient
		case "commitment":
			c := opened[commit.Commitment](t, e.Signed)
			hidden[member{e.Epoch, c.UID}] = c
		case "opening":
			o, by := opened[commit.Opening](t, e.Signed), signerOf[commit.Opening](t, e.Signed)
			m := member{e.Epoch, o.UID}
			if got := commit.Hash(o.Roster, by, o.Salt, claimed[m]); got != hidden[m].Hash || hidden[m].Roster != o.Roster || o.Salt == [32]byte{} {
				t.Errorf("epoch %d, uid %d: %s follows, %s was committed", m.epoch, m.uid, got.Short(), hidden[m].Hash.Short())
			}
			derived++
		}
		return nil
	})
	if err != nil || derived != 3*2 {
		t.Errorf("%d openings, %v", derived, err)
	}
}

func opened[T commit.Document](t *testing.T, e signed.Envelope) T {
	t.Helper()
	s, err := commit.Open[T](e)
	if err != nil {
		t.Fatal(err)
	}
	return s.Doc()
}

func signerOf[T commit.Document](t *testing.T, e signed.Envelope) signed.PeerID {
	t.Helper()
	s, err := commit.Open[T](e)
	if err != nil {
		t.Fatal(err)
	}
	return s.Signer()
}
