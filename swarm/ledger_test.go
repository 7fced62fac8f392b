package swarm

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
	"lockstep/validate"
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

// TestLedgerCutBackIsNoticed cuts whole epochs off a validator's ledger, which
// leaves every link in it intact: the restarted validator tells, and writes the
// same bytes again. Where it cannot, it refuses.
func TestLedgerCutBackIsNoticed(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 3)
	v := n.validator()
	n.miners()
	n.finish(v)
	folder := n.folder("validator")
	path := filepath.Join(folder.Ledger(), "00000000000000000000.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	upTo := func(epoch string) []byte { // the lines before that epoch
		return whole[:bytes.LastIndexByte(whole[:bytes.Index(whole, []byte(`"epoch":`+epoch+`,`))], '\n')+1]
	}
	restart := func(ledger []byte) error {
		t.Helper()
		if err := os.WriteFile(path, ledger, 0o644); err != nil {
			t.Fatal(err)
		}
		return n.start().wait()
	}
	warned := func() bool {
		return slices.ContainsFunc(all[Warning](n, "validator"), func(w Warning) bool { return strings.Contains(w.Text, "was cut back") })
	}
	for _, kept := range [][]byte{nil, upTo("1"), upTo("2"), upTo("2")[:len(upTo("2"))-7]} {
		if err := restart(kept); err != nil || !warned() {
			t.Errorf("%d bytes kept: %v, warned: %v", len(kept), err, warned())
		}
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, whole) {
			t.Errorf("%d bytes kept: written again otherwise", len(kept))
		}
		if r, err := validate.CheckLedger(folder.Ledger()); err != nil || r.Epoch != 3 {
			t.Errorf("%d bytes kept: %+v, %v", len(kept), r, err)
		}
	}
	// What the newest state has not seen may be missing after a crash.
	for _, kept := range [][]byte{whole, upTo("3")} {
		if err := restart(kept); err != nil || warned() {
			t.Errorf("%d bytes kept: %v, warned: %v", len(kept), err, warned())
		}
	}
	if err := os.Remove(docketPath(folder.Dockets(), 2)); err != nil {
		t.Fatal(err)
	}
	if err := restart(upTo("2")); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "is not the ledger") {
		t.Errorf("without the docket of epoch 2: %v", err)
	}
}
