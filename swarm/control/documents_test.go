package control

import (
	"bytes"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce/commit"
)

func sampleRegistry() Registry {
	return Registry{Fingerprint: merkle.Digest{1}, RunID: spec.RunID{1}, Version: 3, Seats: []Seat{
		{UID: 0, Peer: signed.PeerID{1}, Role: Miner, Address: "127.0.0.1:4000"},
		{UID: 2, Peer: signed.PeerID{2}, Role: Miner, Hotkey: "5F3sa2TJAWMqDhXG6jhV4N8ko9SxwGy8TpaNS1repo5EYjQX"},
		{UID: 9, Peer: signed.PeerID{3}, Role: Validator, Address: "[::1]:1"},
	}}
}

func TestRegistry(t *testing.T) {
	k := testKey(0)
	r, err := Open[Registry](Seal(sampleRegistry(), k), idOf(testKey(4)), idOf(k))
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := r.SeatOf(signed.PeerID{2}); !ok || s.UID != 2 {
		t.Errorf("seat %v, %v", s, ok)
	}
	if _, ok := r.SeatOf(signed.PeerID{8}); ok {
		t.Error("a stranger has a seat")
	}
	if _, err := Open[Registry](Seal(sampleRegistry(), k), idOf(testKey(4))); fault.KindOf(err) != fault.Damaged {
		t.Errorf("another signer: %v", err)
	}
	spoils := map[string]func(*Registry){
		"order":       func(r *Registry) { r.Seats[0].UID = 5 },
		"same uid":    func(r *Registry) { r.Seats[1].UID = 0 },
		"same key":    func(r *Registry) { r.Seats[1].Peer = signed.PeerID{1} },
		"no key":      func(r *Registry) { r.Seats[1].Peer = signed.PeerID{} },
		"role":        func(r *Registry) { r.Seats[1].Role = "king" },
		"address":     func(r *Registry) { r.Seats[0].Address = "nowhere" },
		"port":        func(r *Registry) { r.Seats[0].Address = "host:0" },
		"escape":      func(r *Registry) { r.Seats[0].Address = "ho\x1bst:1" },
		"hotkey":      func(r *Registry) { r.Seats[0].Hotkey = string(make([]byte, 65)) },
		"many":        func(r *Registry) { r.Seats = make([]Seat, MaxSeats+1) },
		"high port":   func(r *Registry) { r.Seats[0].Address = "host:65536" },
		"empty host":  func(r *Registry) { r.Seats[0].Address = ":80" },
		"long host":   func(r *Registry) { r.Seats[0].Address = string(bytes.Repeat([]byte("x"), 260)) + ":80" },
		"no run":      func(r *Registry) { r.RunID = spec.RunID{} },
		"del in name": func(r *Registry) { r.Seats[0].Address = "ho\x7fst:80" },
	}
	for name, spoil := range spoils {
		r := sampleRegistry()
		spoil(&r)
		if _, err := Open[Registry](Seal(r, k), idOf(k)); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sampleRecord(k byte) Record {
	fingerprint, id := merkle.Digest{1}, spec.RunID{1}
	d := commit.Seal(commit.Decision{
		Fingerprint: fingerprint, RunID: id, Epoch: 4, Attempt: 1, Roster: merkle.Digest{2}, Verdict: commit.Commit,
		Result: merkle.Digest{3}, Members: []uint32{0, 1}, Tokens: 64,
	}, testKey(k))
	return Record{
		Fingerprint: fingerprint, RunID: id, Epoch: 4, Previous: merkle.Digest{5}, Base: merkle.Digest{6},
		Certificate: commit.Certificate{Signatures: []signed.Envelope{d.Envelope()}},
		State: State{
			Fingerprint: fingerprint, RunID: id, Epoch: 4, Step: 4, Parameters: merkle.Digest{7}, M: merkle.Digest{8}, V: merkle.Digest{9},
		},
	}
}

func TestRecord(t *testing.T) {
	k := testKey(0)
	trusted := commit.Solo(idOf(k))
	r, err := Open[Record](Seal(sampleRecord(0), k), idOf(k))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := r.Decision(trusted); err != nil || d.Tokens != 64 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := sampleRecord(1).Decision(trusted); fault.KindOf(err) != fault.Undecided {
		t.Errorf("a stranger's certificate: %v", err)
	}
	other := sampleRecord(0)
	other.Epoch = 5
	if _, err := other.Decision(trusted); fault.KindOf(err) != fault.Damaged {
		t.Errorf("a certificate of another epoch: %v", err)
	}
	other = sampleRecord(0)
	other.RunID[0]++
	if _, err := other.Decision(trusted); fault.KindOf(err) != fault.Damaged {
		t.Errorf("a certificate of another run: %v", err)
	}
	start := Record{Fingerprint: merkle.Digest{1}, RunID: spec.RunID{1}, State: r.State}
	start.State.Epoch = 0
	if _, err := Open[Record](Seal(start, k), idOf(k)); err != nil {
		t.Errorf("epoch 0: %v", err)
	}
	spoils := map[string]func(*Record){
		"state of another epoch": func(r *Record) { r.State.Epoch = 3 },
		"state of another spec":  func(r *Record) { r.State.Fingerprint = merkle.Digest{8} },
		"state of another run":   func(r *Record) { r.State.RunID = spec.RunID{8} },
		"no run":                 func(r *Record) { r.RunID, r.State.RunID = spec.RunID{}, spec.RunID{} },
		"no predecessor":         func(r *Record) { r.Previous = merkle.Digest{} },
		"no base":                func(r *Record) { r.Base = merkle.Digest{} },
		"no certificate":         func(r *Record) { r.Certificate.Signatures = nil },
		"infinite loss":          func(r *Record) { r.LossBits = 0x7ff0000000000000 },
		"no root":                func(r *Record) { r.State.M = merkle.Digest{} },
	}
	for name, spoil := range spoils {
		r := sampleRecord(0)
		spoil(&r)
		if _, err := Open[Record](Seal(r, k), idOf(k)); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJoinCheck(t *testing.T) {
	good := Join{Role: Miner, Address: "127.0.0.1:1"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, j := range []Join{
		{Role: "king", Address: "127.0.0.1:1"},
		{Role: Miner},
		{Role: Miner, Address: "127.0.0.1:1", Hotkey: "two\nlines"},
	} {
		if fault.KindOf(j.Check()) != fault.Damaged {
			t.Errorf("%+v is accepted", j)
		}
	}
}

// FuzzDocuments feeds bytes to every document that a node reads from others.
// What is accepted must have exactly these bytes.
func FuzzDocuments(f *testing.F) {
	k := testKey(0)
	registry, record := Seal(sampleRegistry(), k), Seal(sampleRecord(0), k)
	for _, v := range []any{
		Join{Role: Miner, Address: "127.0.0.1:1"}, Joined{Registry: registry}, Progress{Record: record, Latest: 4},
		Refusal{Code: OtherRun, Message: "no", Differences: []string{"a"}},
		Status{Role: Miner, Peer: idOf(k), Epoch: 3, Seats: sampleRegistry().Seats},
	} {
		b, err := signed.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(registry))
	f.Add([]byte(record))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{&Join{}, &Joined{}, &Progress{}, &Refusal{}, &Status{}} {
			if signed.Unmarshal(data, v) != nil {
				continue
			}
			if again, err := signed.Marshal(v); err != nil || !bytes.Equal(again, data) {
				t.Errorf("%T: %x is read, but written as %x", v, data, again)
			}
			if j, ok := v.(*Join); ok {
				_ = j.Check()
			}
			if r, ok := v.(*Refusal); ok {
				_ = r.tidy(signed.PeerID{}).Error()
			}
		}
		if r, err := Open[Registry](data, idOf(k)); err == nil && CheckSeats(r.Seats) != nil {
			t.Error("a registry is accepted that breaks its rules")
		}
		if r, err := Open[Record](data, idOf(k)); err == nil {
			_, _ = r.Decision(commit.Solo(idOf(k)))
		}
		_, _ = Open[State](data, idOf(k))
	})
}

// FuzzRequest feeds the strings of a request: what is accepted is in its range
// and can be shown.
func FuzzRequest(f *testing.F) {
	f.Add("wait=20", "7", "127.0.0.1:4000")
	f.Add("wait=99999&wait=1", "007", "[::1]:1")
	f.Add("%zz", "-1", "host:0")
	f.Fuzz(func(t *testing.T, query, place, address string) {
		wait, err := waitOf(&http.Request{URL: &url.URL{RawQuery: query}})
		if err == nil && (wait < 0 || wait > MaxWait) {
			t.Errorf("%q waits %v", query, wait)
		}
		n, err := Call{path: func(string) string { return place }}.Number("epoch")
		if err == nil && strconv.FormatUint(n, 10) != place {
			t.Errorf("%q is read as %d", place, n)
		}
		if CheckAddress(address) == nil {
			if _, err := net.ResolveTCPAddr("tcp", "127.0.0.1"+address[strings.LastIndexByte(address, ':'):]); err != nil || !printable(address) {
				t.Errorf("%q is taken for host:port: %v", address, err)
			}
		}
		if s := sentence(query); !printable(s) || len(s) > maxSentence+3 {
			t.Errorf("%q is shown as %q", query, s)
		}
	})
}
