package swarm

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
	"lockstep/validate"
)

func TestDocket(t *testing.T) {
	dir := t.TempDir()
	id, _ := EnsureIdentity(dir + "/key")
	claim := func(uid uint32) signed.Envelope {
		return commit.Seal(commit.Claim{
			Epoch: 7, UID: uid, Tokens: 10, Elements: 1, Segments: []uint64{1},
		}, id.Key).Envelope()
	}
	d := &docket{Epoch: 7, Registry: signed.Envelope{1}, Nonce: merkle.Digest{2}, Audits: []validate.Audited{{Chunk: 1, Equal: true}}}
	for _, uid := range []uint32{3, 0, 2} {
		d.find(finding{UID: uid, Peer: signed.PeerID{byte(uid)}, Exact: true, Claim: claim(uid)})
	}
	d.find(finding{UID: 2, Peer: signed.PeerID{2}, False: true, Kind: "switch", Claim: claim(2)})
	if len(d.Findings) != 3 || d.Findings[0].UID != 0 || d.Findings[2].UID != 3 {
		t.Errorf("findings %+v", d.Findings)
	}
	if f, ok := d.of(2); !ok || f.Kind != "switch" || f.Exact {
		t.Errorf("the later finding does not replace the earlier: %+v", f)
	}
	if err := d.save(dir); err != nil {
		t.Fatal(err)
	}
	back, err := loadDocket(dir, 7)
	if err != nil || !reflect.DeepEqual(back.Findings, d.Findings) || back.Nonce != d.Nonce {
		t.Errorf("%+v, %v", back, err)
	}
	if epochs, err := docketEpochs(dir); err != nil || !reflect.DeepEqual(epochs, []uint64{7}) {
		t.Errorf("epochs %v, %v", epochs, err)
	}
	if _, err := d.loss([]uint32{0, 3}); err != nil {
		t.Error(err)
	}
	if _, err := d.loss([]uint32{0, 1}); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "uid 1") {
		t.Errorf("a member without a claim: %v", err)
	}
	if err := os.WriteFile(docketPath(dir, 8), []byte(`{"epoch":9}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadDocket(dir, 8); fault.KindOf(err) != fault.Damaged {
		t.Errorf("a docket of another epoch: %v", err)
	}
}

// TestStalledEpochStaysSmall lets an epoch fail a hundred times: the docket
// keeps how it began and how it ended, counts the rest, and stays as long as it
// is. What it has is not entered twice.
func TestStalledEpochStaysSmall(t *testing.T) {
	id, err := EnsureIdentity(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	c := &chronicle{dir: t.TempDir(), trusted: commit.Solo(id.Peer)}
	var size int64
	for n := uint32(1); n <= 100; n++ {
		r := commit.Seal(commit.Roster{Epoch: 7, Attempt: n}, id.Key)
		d := commit.Seal(commit.Decision{Epoch: 7, Attempt: n, Verdict: commit.Abort, Roster: r.Digest()}, id.Key)
		certified, err := c.trusted.Certify([]commit.Signed[commit.Decision]{d})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []bool{true, false} {
			if fresh, err := c.concluded(reduce.Concluded{Certified: certified, Roster: r}); err != nil || fresh != want {
				t.Fatalf("attempt %d: fresh %v, %v", n, fresh, err)
			}
		}
		info, err := os.Stat(docketPath(c.dir, 7))
		if err != nil || n > 40 && info.Size() > size+size/10 {
			t.Fatalf("attempt %d: %d bytes, %d after 40 attempts (%v)", n, info.Size(), size, err)
		}
		if n == 40 {
			size = info.Size()
		}
	}
	d, err := loadDocket(c.dir, 7)
	if err != nil || d.Dropped != 100-2*keepAttempts || len(d.Attempts) != 2*keepAttempts {
		t.Fatalf("%d attempts, %d dropped, %v", len(d.Attempts), d.Dropped, err)
	}
	for i, a := range d.Attempts {
		want := uint32(i + 1)
		if i >= keepAttempts {
			want += d.Dropped
		}
		decision, err := c.trusted.Decision(commit.Certificate{Signatures: a.Decision})
		if err != nil || decision.Decision().Attempt != want {
			t.Errorf("place %d holds attempt %d, want %d (%v)", i, decision.Decision().Attempt, want, err)
		}
	}
}

func TestChronicle(t *testing.T) {
	run, _ := testRun(t)
	f := Folder(t.TempDir())
	id, _ := EnsureIdentity(f.Key())
	trusted := commit.Solo(id.Peer)
	c, err := openChronicle(f, run, trusted)
	if err != nil {
		t.Fatal(err)
	}
	seat := control.Seat{UID: 1, Peer: signed.PeerID{1}, Role: control.Miner}
	settle := func(epoch uint64, g finding) {
		d, err := c.at(epoch)
		if err != nil {
			t.Fatal(err)
		}
		d.Summary = EpochSummary{Epoch: epoch, NodesAgree: true}
		d.Measures = []validate.Measure{{UID: 1, Peer: seat.Peer, Exact: g.Exact, False: g.False, Tokens: 5, Bytes: 10, Nanos: 10}}
		if d.Scores, err = validate.ScoreEpoch(d.Measures, c.marks); err != nil {
			t.Fatal(err)
		}
		d.Nonce = merkle.Digest{1}
		c.open.Findings = nil // evidence folders are tested with the network
		if err := c.settle(d); err != nil {
			t.Fatal(err)
		}
		c.remember(g)
	}
	settle(1, finding{UID: 1, Peer: seat.Peer, Exact: true})
	settle(2, finding{UID: 1, Peer: seat.Peer, False: true, Kind: "random", Folder: "evidence/2-1"})
	settle(3, finding{UID: 1, Peer: seat.Peer, Exact: true})
	s := c.summary(merkle.Digest{9}, []control.Seat{seat, {UID: 2, Peer: signed.PeerID{2}}}, 2)
	if len(s.Epochs) != 3 || s.Epochs[1].Tag != "2" || s.Epochs[2].Tag != "" {
		t.Errorf("epochs %+v", s.Epochs)
	}
	if m := s.Miners[0]; m.Gradient != "mismatch" || m.Kind != "random" || m.Evidence != "evidence/2-1" || m.Score == 0 {
		t.Errorf("%+v", m)
	}
	if m := s.Miners[1]; m.Gradient != "none" || m.Kind != "" {
		t.Errorf("a miner without a verdict: %+v", m)
	}
	c.shut()

	// An epoch that was settled, but did not reach the ledger, is entered at the
	// next start, once.
	d := &docket{Epoch: 4, Settled: true, Summary: EpochSummary{Epoch: 4}, Nonce: merkle.Digest{1}, Measures: []validate.Measure{{UID: 1, Peer: seat.Peer}}}
	if d.Scores, err = validate.ScoreEpoch(d.Measures, c.marks); err != nil {
		t.Fatal(err)
	}
	if err := d.save(f.Dockets()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		again, err := openChronicle(f, run, trusted)
		if err != nil {
			t.Fatal(err)
		}
		if again.settled() != 4 || again.ledger.Head().Epoch != 4 || !reflect.DeepEqual(again.marks, d.Scores) {
			t.Errorf("settled %d, ledger %+v", again.settled(), again.ledger.Head())
		}
		again.shut()
	}
	if r, err := validate.CheckLedger(f.Ledger()); err != nil || r.Epoch != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRecords(t *testing.T) {
	dir := t.TempDir() + "/records"
	id, _ := EnsureIdentity(t.TempDir() + "/key")
	r, err := openRecords(dir, id.Peer)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := r.newest(); ok {
		t.Error("a record from nowhere")
	}
	add := func(epoch uint64) {
		record := control.Record{Fingerprint: merkle.Digest{1}, RunID: spec.RunID{1}, Epoch: epoch}
		record.State = control.State{Fingerprint: merkle.Digest{1}, RunID: spec.RunID{1}, Epoch: epoch, Parameters: merkle.Digest{2}, M: merkle.Digest{3}, V: merkle.Digest{4}}
		if epoch > 0 {
			record.Previous, record.Base = merkle.Digest{5}, merkle.Digest{6}
			record.Certificate.Signatures = []signed.Envelope{{1}}
		}
		e := control.Seal(record, id.Key)
		if err := r.write(record, e); err != nil {
			t.Fatal(err)
		}
		r.show(record, e)
	}
	for epoch := range uint64(3) {
		add(epoch)
	}
	for epoch := range uint64(3) {
		if got, e, ok := r.find(epoch); !ok || got.Epoch != epoch || len(e) == 0 {
			t.Errorf("epoch %d: %+v, %v", epoch, got, ok)
		}
	}
	if _, _, ok := r.find(3); ok {
		t.Error("a record of an epoch to come")
	}
	again, err := openRecords(dir, id.Peer)
	if err != nil {
		t.Fatal(err)
	}
	if last, _, _ := again.newest(); last.Epoch != 2 {
		t.Errorf("newest is %d", last.Epoch)
	}
	if _, err := openRecords(dir, signed.PeerID{7}); fault.KindOf(err) != fault.Damaged {
		t.Errorf("another validator's records: %v", err)
	}
	if err := os.WriteFile(r.path(2), []byte("junk"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openRecords(dir, id.Peer); fault.KindOf(err) != fault.Damaged {
		t.Errorf("a damaged record: %v", err)
	}
}
