package reduce

import (
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce/commit"
)

// RecordKind says what a journal record holds.
type RecordKind uint8

// The records. A member keeps votes and certificates, a leader all but votes of
// its own.
const (
	RecordVote        RecordKind = 1 // the voter's own vote, before it is sent
	RecordCertificate RecordKind = 2 // a decision: a leader's before it is sent, a member's before it is applied
	RecordRoster      RecordKind = 3 // the leader's roster and its claims, before it is sent
	RecordSet         RecordKind = 4 // the leader's set and its commitments, before it is sent
	RecordDocuments   RecordKind = 5 // votes, receipts and openings, in that order, before the attempt is decided
)

// Record is one entry of a machine's journal: canonical CBOR of a list of
// signed envelopes, the kind's own document first.
type Record struct {
	Kind      RecordKind        `cbor:"1,keyasint"`
	Envelopes []signed.Envelope `cbor:"2,keyasint"`
}

// MaxRecord caps the bytes of an encoded record, and of a roster with its claims
// on the wire. The largest one, a roster of commit.MaxMembers whose claims have
// commit.MaxSegments each, needs less.
const MaxRecord = 4 << 20

// Encode returns the record's bytes.
func (r Record) Encode() []byte {
	b, err := signed.Marshal(r)
	if err != nil {
		panic("reduce: " + err.Error()) // plain structs always encode
	}
	return b
}

// ParseRecord reads what Encode wrote. Errors are fault.Damaged.
func ParseRecord(b []byte) (Record, error) {
	var r Record
	if err := signed.UnmarshalUpTo(b, &r, MaxRecord); err != nil {
		return Record{}, err
	}
	most := 1 + commit.MaxMembers
	if r.Kind == RecordDocuments {
		most = 3 * commit.MaxMembers
	}
	if r.Kind < RecordVote || r.Kind > RecordDocuments || len(r.Envelopes) == 0 || len(r.Envelopes) > most {
		return Record{}, fault.Errorf(fault.Damaged, "journal: record of kind %d with %d documents", r.Kind, len(r.Envelopes))
	}
	return r, nil
}

// record collects envelopes: the document itself, then what stands beside it.
func record[T, U commit.Document](kind RecordKind, doc commit.Signed[T], beside []commit.Signed[U]) Record {
	return Record{kind, append([]signed.Envelope{doc.Envelope()}, envelopes(beside)...)}
}

func envelopes[T commit.Document](docs []commit.Signed[T]) []signed.Envelope {
	out := make([]signed.Envelope, len(docs))
	for i, d := range docs {
		out[i] = d.Envelope()
	}
	return out
}

// foreign is the error of a journal that belongs to another run.
func foreign(what string, fingerprint merkle.Digest, run spec.RunID) error {
	return fault.Errorf(fault.Damaged, "journal: a %s of run %s (spec %s): it was copied here from another folder", what, run.Short(), fingerprint.Short())
}

// openAll opens envelopes of one kind.
func openAll[T commit.Document](envelopes []signed.Envelope) ([]commit.Signed[T], error) {
	out := make([]commit.Signed[T], len(envelopes))
	for i, e := range envelopes {
		var err error
		if out[i], err = commit.Open[T](e); err != nil {
			return nil, err
		}
	}
	return out, nil
}
