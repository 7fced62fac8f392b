package swarm

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/swarm/control"
)

func testSeating(t *testing.T) (*seating, []signed.PeerID, Identity) {
	t.Helper()
	run, _ := testRun(t)
	id, err := EnsureIdentity(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	peers := []signed.PeerID{{1}, {2}}
	s, err := newSeating(run, spec.RunID{1}, id, []control.Seat{
		{UID: 5, Peer: peers[1], Role: control.Miner, Address: "forged:1"}, {UID: 2, Peer: peers[0], Role: control.Miner},
	}, "127.0.0.1:9", 3, &book{})
	if err != nil {
		t.Fatal(err)
	}
	return s, peers, id
}

func TestJoinAndLeave(t *testing.T) {
	s, peers, id := testSeating(t)
	if len(s.present()) != 0 || len(s.miners()) != 2 {
		t.Fatalf("present %v, miners %v", s.present(), s.miners())
	}
	join := control.Join{Run: *s.run, Role: control.Miner, Address: "127.0.0.1:5", Hotkey: "5F"}
	seat, envelope, err := s.join(peers[1], "10.0.0.7", join)
	if err != nil || seat.UID != 5 {
		t.Fatalf("%+v, %v", seat, err)
	}
	r, err := control.Open[control.Registry](envelope, id.Peer)
	if err != nil || len(r.Seats) != 3 || r.Version != 3<<32+2 || r.Fingerprint != s.fingerprint {
		t.Errorf("%+v, %v", r, err)
	}
	if seat, _ := r.SeatOf(peers[1]); seat.Address != "127.0.0.1:5" || seat.Hotkey != "5F" {
		t.Errorf("%+v", seat)
	}
	if seat, ok := r.SeatOf(id.Peer); !ok || seat.UID != ValidatorUID || seat.Role != control.Validator {
		t.Errorf("the validator's own seat: %+v", seat)
	}
	if _, again, err := s.join(peers[1], "10.0.0.7", join); err != nil || !bytes.Equal(again, envelope) {
		t.Errorf("joining again without a change: %v, or another registry", err)
	}
	if here := s.present(); len(here) != 1 || here[0].UID != 5 || !s.isHere(peers[1]) || s.isHere(peers[0]) {
		t.Errorf("present: %v", here)
	}
	for _, address := range []string{"0.0.0.0:77", "[::]:77"} {
		join.Address = address
		if _, _, err := s.join(peers[0], "10.0.0.7", join); err != nil {
			t.Fatal(err)
		}
		if seat, _ := s.book.lookup(peers[0]); seat.Address != "10.0.0.7:77" {
			t.Errorf("a node on all interfaces is sought at %s", seat.Address)
		}
	}
	s.leave(peers[0])
	if !s.leave(peers[1]) || s.leave(peers[1]) || len(s.present()) != 0 {
		t.Error("leaving does not work")
	}
}

func TestJoinIsRefused(t *testing.T) {
	s, peers, _ := testSeating(t)
	good := control.Join{Run: *s.run, Role: control.Miner, Address: "127.0.0.1:5"}
	other := good
	other.Run.Assignment.SeqLen, other.Run.Data.Rows = 16, 7
	past := good
	past.RunID = spec.RunID{2}
	tests := []struct {
		name string
		peer signed.PeerID
		join control.Join
		code control.Code
		says []string
	}{
		{"unknown key", signed.PeerID{9}, good, control.Unregistered, []string{signed.PeerID{9}.String()}},
		{"other role", peers[0], control.Join{Run: *s.run, Role: control.Validator, Address: "127.0.0.1:5"}, control.Unregistered, []string{"registered as miner"}},
		{"another run of the spec", peers[0], past, control.OtherRun, []string{"this is run 01000000", "not run 02000000"}},
		{"other spec", peers[0], other, control.OtherRun, []string{"data.rows is 7 here", "assignment.seq_len is 16 here, 32 there"}},
		{"no address", peers[0], control.Join{Run: *s.run, Role: control.Miner}, control.Malformed, nil},
	}
	for _, tt := range tests {
		_, _, err := s.join(tt.peer, "10.0.0.7", tt.join)
		if !control.IsRefusal(err, tt.code) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, text := range tt.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %q does not say %q", tt.name, err, text)
			}
		}
	}
	if len(s.present()) != 0 {
		t.Error("somebody got in")
	}
}

func TestAdmissionListIsChecked(t *testing.T) {
	run, _ := testRun(t)
	id, _ := EnsureIdentity(t.TempDir() + "/key")
	for name, admit := range map[string][]control.Seat{
		"two on a seat": {{UID: 1, Peer: signed.PeerID{1}, Role: control.Miner}, {UID: 1, Peer: signed.PeerID{2}, Role: control.Miner}},
		"key twice":     {{UID: 1, Peer: signed.PeerID{1}, Role: control.Miner}, {UID: 2, Peer: signed.PeerID{1}, Role: control.Miner}},
		"no such seat":  {{UID: 8, Peer: signed.PeerID{1}, Role: control.Miner}},
		"no role":       {{UID: 1, Peer: signed.PeerID{1}}},
	} {
		if _, err := newSeating(run, spec.RunID{1}, id, admit, "127.0.0.1:1", 1, &book{}); fault.KindOf(err) != fault.Config {
			t.Errorf("%s: %v (%v)", name, err, fault.KindOf(err))
		}
	}
}

// TestRestartedValidatorsRegistryIsNewer: a miner that saw many changes takes
// the first registry of the validator's next life.
func TestRestartedValidatorsRegistryIsNewer(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2, 0, 2)
	v := n.validator()
	registry := func() control.Registry {
		t.Helper()
		var w word
		id, err := EnsureIdentity(n.folder(name(1)).Key())
		if err != nil {
			t.Fatal(err)
		}
		if err := clientOf(t, id, n.at).Get(t.Context(), n.at.Peer, "/v1/registry", 0, &w); err != nil {
			t.Fatal(err)
		}
		r, err := control.Open[control.Registry](w.Signed, n.at.Peer)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	kept := &book{}
	for range 3 { // joins, and is gone again
		m := n.miner(0)
		n.await(name(0), func(e Event) bool { _, ok := e.(Joined); return ok })
		kept.set(registry())
		m.kill()
		_ = m.wait()
		n.mu.Lock()
		delete(n.events, name(0))
		n.mu.Unlock()
	}
	v.kill()
	_ = v.wait()
	before := kept.get()
	n.validator()
	kept.set(registry())
	if now := kept.get(); now.Version <= before.Version || now.Seats[0].Address != "" {
		t.Errorf("version %d with uid 0 at %q follows version %d", now.Version, now.Seats[0].Address, before.Version)
	}
}

func TestNumber(t *testing.T) {
	n := Folder(t.TempDir()).Starts()
	if x, err := n.load(); x != 0 || err != nil {
		t.Errorf("before the first: %d, %v", x, err)
	}
	for _, want := range []uint64{1, 1 << 63} {
		if err := n.store(want); err != nil {
			t.Fatal(err)
		}
		if x, err := n.load(); x != want || err != nil {
			t.Errorf("%d, %v; want %d", x, err, want)
		}
	}
	if err := os.WriteFile(string(n), []byte("-1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := n.load(); fault.KindOf(err) != fault.Damaged {
		t.Errorf("no number: %v", err)
	}
}
