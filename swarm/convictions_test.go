package swarm

import (
	"os"
	"testing"
	"time"

	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/validate"
)

// TestConvictionSurvivesACrash: the validator dies at each step between the
// proof of a cheat and the verdict on it. Whoever is excluded is proven guilty
// afterwards, and scored so, and the honest miners never notice.
func TestConvictionSurvivesACrash(t *testing.T) {
	aborts := func(a reduce.Action) bool {
		r, ok := a.(reduce.Append)
		if !ok || r.Record.Kind != reduce.RecordCertificate {
			return false
		}
		d, err := commit.Open[commit.Decision](r.Record.Envelopes[0])
		return err == nil && d.Doc().Verdict == commit.Abort
	}
	tests := []struct {
		name string
		at   func(reduce.Action) bool
	}{
		{"before the evidence is kept", func(a reduce.Action) bool { _, ok := a.(reduce.Convicted); return ok }},
		{"before the decision", aborts},
		{"before the verdict", func(a reduce.Action) bool { _, ok := a.(reduce.Concluded); return ok }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, 3, 0, 2)
			n.cheats[2] = Switch
			tap, dead := dyingAt("leader", tt.at)
			v := n.validator(impatient, func(c *ValidatorConfig) { c.tap = tap })
			miners := n.miners()
			select {
			case <-dead:
			case <-time.After(patience):
				t.Fatal("nobody died")
			}
			v.kill()
			_ = v.wait()
			s := n.finish(n.validator(impatient))
			n.ended(s, miners...)
			for i, m := range s.Miners {
				if guilty := i == 2; (m.Kind == "switch") != guilty || (m.Gradient == "exact") == guilty || (m.Weight == 0) != guilty {
					t.Errorf("%+v", m)
				}
			}
			for epoch := range uint64(2) {
				e, err := validate.ReadEvidence(validate.Folder(string(n.folder("validator")), epoch+1, 2))
				if err != nil || e.Verdict.Outcome != validate.Convicted || e.Round == nil {
					t.Fatalf("epoch %d: %v", epoch+1, err)
				}
				if f, err := commit.Judge(*e.Round); err != nil || f.UID != 2 {
					t.Errorf("epoch %d: the evidence convicts uid %d, %v", epoch+1, f.UID, err)
				}
			}
			if left, _ := os.ReadDir(n.folder("validator").Convictions()); len(left) > 0 {
				t.Errorf("kept for ever: %v", left)
			}
		})
	}
}

// TestConvictionsOfASettledEpochGo: what a crash left of them after the epoch was
// settled is removed at the next start, and that of an open epoch is not.
func TestConvictionsOfASettledEpochGo(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 0, 1)
	v := n.validator()
	n.miners()
	n.finish(v)
	kept := convictions(n.folder("validator").Convictions())
	for _, epoch := range []uint64{1, 2} {
		if err := kept.keep(reduce.Convicted{Epoch: epoch, Evidence: []commit.Evidence{{Kind: commit.Switch}}}); err != nil {
			t.Fatal(err)
		}
	}
	n.finish(n.validator())
	for epoch, want := range map[uint64]int{1: 0, 2: 1} {
		if left, err := kept.files(epoch); err != nil || len(left) != want {
			t.Errorf("epoch %d: %v are left, %v", epoch, left, err)
		}
	}
}

// TestVerdictReachesTheDocket: the validator died when the evidence folder said
// that a miner is convicted and the docket did not say so yet. It is told again.
func TestVerdictReachesTheDocket(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 3, 0, 1)
	n.cheats[2] = Switch
	v := n.validator()
	miners := n.miners()
	n.ended(n.finish(v), miners...)
	folder := n.folder("validator")
	before, err := loadDocket(folder.Dockets(), 1)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := before.of(2)
	e, err := validate.ReadEvidence(f.Folder)
	if err != nil || !f.False {
		t.Fatalf("%+v, %v", f, err)
	}
	f.False, f.Exact, f.Kind = false, true, ""
	before.find(f)
	before.Settled = false
	if err := before.save(folder.Dockets()); err != nil {
		t.Fatal(err)
	}
	node, err := openNode(t.Context(), n.node("validator"), commit.Solo(n.identity("validator").Peer))
	if err != nil {
		t.Fatal(err)
	}
	defer node.close()
	again := &validator{node: node, cfg: ValidatorConfig{EvidenceDir: string(folder)}}
	if again.chronicle, err = openChronicle(folder, n.run, node.trusted); err != nil {
		t.Fatal(err)
	}
	defer again.chronicle.shut()
	if err := again.convict(1, *e.Round); err != nil {
		t.Fatal(err)
	}
	after, err := loadDocket(folder.Dockets(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if f, _ := after.of(2); !f.False || f.Exact || f.Kind != "switch" {
		t.Errorf("%+v", f)
	}
}
