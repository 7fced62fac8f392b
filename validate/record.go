package validate

import (
	"encoding/json"
	"fmt"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/reduce/commit"
	"lockstep/validate/ledger"
)

// The kinds of ledger entries. Those in the first group hold a signed document,
// those in the second a JSON view alone.
const (
	entryRegistry   = "registry"
	entryClaim      = "claim"
	entryRoster     = "roster"
	entryCommitment = "commitment"
	entrySet        = "set"
	entryOpening    = "opening"
	entryReceipt    = "receipt"
	entryVote       = "vote"
	entryDecision   = "decision" // one for each signature of a certificate
	entryVerdict    = "verdict"

	entryRun      = "run"      // spec.Run, as epoch 0
	entryState    = "state"    // StateView: what the epoch ended in
	entryNonce    = "nonce"    // the epoch's Nonce, in hex
	entryMeasures = "measures" // []Measure
	entryScores   = "scores"   // []Score
	entryWeights  = "weights"  // Weights
)

// Record is what a ledger keeps of one epoch. Its entries stand in the order of
// the fields. Parts that an epoch does not have are left zero.
type Record struct {
	Epoch    uint64
	Run      *spec.Run                     // of epoch 0 only
	Registry signed.Envelope               // who sat where
	Claims   []commit.Signed[commit.Claim] // in uid order
	Attempts []Attempt
	Verdicts []*Evidence   // in uid order
	State    *model.Header // of the state after the epoch; nil while it stays open
	Nonce    Nonce         // zero where nothing was drawn
	Measures []Measure
	Scores   []Score // nil where the epoch is not scored
}

// StateView is the state that an epoch ended in.
type StateView struct {
	model.Header
	Root merkle.Digest `json:"root"`
}

// Entries returns the record for ledger.Append, which takes all of an epoch or
// nothing. A ledger whose head is at an epoch has that epoch's record.
func (r *Record) Entries() ([]ledger.Entry, error) {
	w := entryWriter{epoch: r.Epoch}
	if r.Run != nil {
		w.view(entryRun, r.Run)
	}
	if r.Registry != nil {
		w.document(entryRegistry, r.Registry)
	}
	documents(&w, entryClaim, r.Claims...)
	for _, a := range r.Attempts {
		a.entries(&w)
	}
	for _, e := range r.Verdicts {
		w.document(entryVerdict, e.Signed())
	}
	if r.State != nil {
		w.view(entryState, StateView{*r.State, r.State.Root()})
	}
	if r.Nonce != (Nonce{}) {
		w.view(entryNonce, merkle.Digest(r.Nonce))
	}
	if r.Scores != nil {
		w.view(entryMeasures, r.Measures)
		w.view(entryScores, r.Scores)
		w.view(entryWeights, WeightsOf(r.Epoch, r.Scores, r.Verdicts))
	}
	return w.entries, w.err
}

func (a *Attempt) entries(w *entryWriter) {
	documents(w, entryRoster, a.Roster)
	documents(w, entryCommitment, a.Commitments...)
	documents(w, entrySet, a.Set)
	documents(w, entryOpening, a.Openings...)
	documents(w, entryReceipt, a.Receipts...)
	documents(w, entryVote, a.Votes...)
	for _, e := range a.Decision.Certificate().Signatures {
		w.document(entryDecision, e)
	}
}

// entryWriter collects entries and the first error.
type entryWriter struct {
	epoch   uint64
	entries []ledger.Entry
	err     error
}

func (w *entryWriter) view(kind string, v any) { w.add(kind, v, nil) }

// document adds a signed document with the view that its own bytes give.
func (w *entryWriter) document(kind string, e signed.Envelope) {
	v, err := openEntry(kind, e)
	w.fail(kind, err)
	w.add(kind, v, e)
}

func (w *entryWriter) add(kind string, v any, e signed.Envelope) {
	entry := ledger.Entry{Epoch: w.epoch, Kind: kind, Signed: e}
	if v != nil {
		view, err := json.Marshal(v)
		w.fail(kind, err)
		entry.View = view
	}
	w.entries = append(w.entries, entry)
}

func (w *entryWriter) fail(kind string, err error) {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("ledger: %s of epoch %d: %w", kind, w.epoch, err)
	}
}

func documents[T commit.Document](w *entryWriter, kind string, docs ...commit.Signed[T]) {
	for _, d := range docs {
		if !d.IsZero() {
			w.document(kind, d.Envelope())
		}
	}
}

// openEntry verifies the document of an entry and returns what its view shows.
// The registry is of another package: its bytes are kept, not read, and it has
// no view.
func openEntry(kind string, e signed.Envelope) (any, error) {
	switch kind {
	case entryRegistry:
		return nil, nil
	case entryClaim:
		return openDocument[commit.Claim](e)
	case entryRoster:
		return openDocument[commit.Roster](e)
	case entryCommitment:
		return openDocument[commit.Commitment](e)
	case entrySet:
		return openDocument[commit.Set](e)
	case entryOpening:
		s, err := commit.Open[commit.Opening](e)
		return openingView{s.Doc(), s.Doc().Salt}, err
	case entryReceipt:
		return openDocument[commit.Receipt](e)
	case entryVote:
		return openDocument[commit.Vote](e)
	case entryDecision:
		return openDocument[commit.Decision](e)
	case entryVerdict:
		v, _, err := OpenVerdict(e)
		return v, err
	}
	return nil, fault.Errorf(fault.Damaged, "%q is no kind of document", kind)
}

// openingView shows the salt, which is secret until then and hidden elsewhere:
// with it the ledger alone leads from the root to the commitment.
type openingView struct {
	commit.Opening
	Salt merkle.Digest `json:"salt"`
}

func openDocument[T commit.Document](e signed.Envelope) (any, error) {
	s, err := commit.Open[T](e)
	return s.Doc(), err
}

// Weights are what an operator submits for an epoch: seats with a weight, and
// why the others have none.
type Weights struct {
	Format  string   `json:"format"`
	Epoch   uint64   `json:"epoch"`
	UIDs    []uint32 `json:"uids"`
	Weights []uint16 `json:"weights"`
	Zeroed  []Zeroed `json:"zeroed"`
}

// Zeroed is a seat without a weight.
type Zeroed struct {
	UID    uint32 `json:"uid"`
	Reason string `json:"reason"` // of the epoch's verdict, or "score"
}

// WeightsOf lists weights in uid order. UIDs is empty, and there is nothing to
// submit, before the first scored epoch and where every miner failed.
func WeightsOf(epoch uint64, scores []Score, verdicts []*Evidence) Weights {
	out := Weights{Format: "lockstep.weights/1", Epoch: epoch, UIDs: []uint32{}, Weights: []uint16{}, Zeroed: []Zeroed{}}
	for _, s := range scores {
		if s.Weight > 0 {
			out.UIDs, out.Weights = append(out.UIDs, s.UID), append(out.Weights, s.Weight)
			continue
		}
		z := Zeroed{s.UID, "score"}
		for _, e := range verdicts {
			if v := e.Verdict; v.UID == s.UID && v.Outcome != Exact {
				if z.Reason = v.Kind(); z.Reason == "" {
					z.Reason = v.Outcome.String()
				}
			}
		}
		out.Zeroed = append(out.Zeroed, z)
	}
	return out
}
