package swarm

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/validate"
)

func TestEventsSurviveJSON(t *testing.T) {
	events := []Event{
		Listening{Role: "miner", Peer: signed.PeerID{1}, Address: "a:1"},
		Joined{UID: 3, Seated: 1, Wanted: 2}, Left{UID: 3, Reason: "gone"},
		Progress{UID: 1, Epoch: 2, Phase: "computing", Done: 3, Quota: 4},
		ClaimReady{UID: 1, Loss: 6.25, Gradient: merkle.Digest{9}},
		Judged{Epoch: 1, UID: 2, Outcome: "mismatch", Kind: "random"},
		RoundStarted{Epoch: 1, Attempt: 2, Members: []uint32{0, 1}},
		Attempt{Epoch: 1, Attempt: 1, Verdict: "ABORT", Excluded: []Excluded{{2, "switch"}}},
		Committed{Epoch: 1, Loss: 6.5, Members: []uint32{0}, Attempts: 1},
		StateRoot{Epoch: 1, UID: 1, Agrees: true}, Settled{Epoch: 1, Agree: true},
		Pushed{Epoch: 1, Tag: "1"}, Scores{Epoch: 1, Table: []validate.Score{{UID: 1, Weight: 65535}}},
		CaughtUp{UID: 1, Epoch: 2, From: "state"}, Warning{"careful"}, Ended{Epoch: 3},
		Finished{Summary{Epochs: []EpochSummary{{Epoch: 1}}, Miners: []MinerSummary{{UID: 1}}}},
	}
	if len(events) != len(eventTypes) {
		t.Errorf("%d of %d kinds of event are tested", len(events), len(eventTypes))
	}
	for _, e := range events {
		line, err := EncodeEvent(e)
		if err != nil || bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
			t.Errorf("%T: %q, %v", e, line, err)
		}
		back, err := DecodeEvent(line)
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("%+v comes back as %+v, %v", e, back, err)
		}
	}
}

func TestDecodeEventIsStrictAboutVersionsOnly(t *testing.T) {
	if e, err := DecodeEvent([]byte(`{"version":1,"event":"eclipse","data":{}}`)); e != nil || err != nil {
		t.Errorf("an unknown event: %v, %v", e, err)
	}
	if e, err := DecodeEvent([]byte(`{"version":1,"event":"warning","data":{"text":"x","colour":"red"}}`)); err != nil || e != (Warning{"x"}) {
		t.Errorf("an unknown field: %v, %v", e, err)
	}
	for _, line := range []string{"", "{", `{"version":2,"event":"warning","data":{}}`, `{"version":1,"event":"warning","data":7}`} {
		if _, err := DecodeEvent([]byte(line)); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := EncodeEvent(Committed{Loss: math.NaN()}); err == nil {
		t.Error("a NaN is written as JSON")
	}
}

func FuzzDecodeEvent(f *testing.F) {
	line, _ := EncodeEvent(Warning{"x"})
	f.Add(line)
	f.Add([]byte(`{"version":1,"event":"scores","data":{"table":[{}]}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := DecodeEvent(line)
		if err != nil || e == nil {
			return
		}
		if _, err := json.Marshal(e); err != nil {
			t.Errorf("%q is read as %+v, which cannot be written: %v", line, e, err)
		}
	})
}
