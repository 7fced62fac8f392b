package validate

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce/commit"
	"lockstep/stream"
)

// Evidence is all that a third party needs, beside the text and the base
// state's parameters, to decide once more about one miner in one epoch.
// Evidence comes from Judgement.Seal and ReadEvidence, which check that the
// parts belong together.
type Evidence struct {
	Run       *spec.Run
	Verdict   *Verdict
	Validator signed.PeerID    // who signed the verdict
	Claim     signed.Envelope  // the miner's; nil where none came
	Rows      []stream.RowRef  // the rows behind Verdict.Found.Rows
	Leaf      *Leaf            // of the claimed gradient, where it differs
	Round     *commit.Evidence // of the averaging round, where the outcome is Convicted

	files []file // as on disk, the verdict last
}

// file is one part of an evidence folder.
type file struct {
	name string
	data []byte
}

// The files of an evidence folder.
const (
	claimFile   = "claim.cbor"
	leafFile    = "leaf.cbor"
	roundFile   = "round.bin"
	rowsFile    = "rows.bin"
	runFile     = "run.cbor"
	verdictFile = "verdict.cbor"
	summaryFile = "summary.json" // for people; nobody reads it back
)

// partFiles lists what is read of a folder: all parts, the verdict last.
var partFiles = []string{claimFile, leafFile, roundFile, rowsFile, runFile, verdictFile}

// capOf returns how many bytes of a part are read.
func capOf(name string) int {
	switch name {
	case roundFile:
		return commit.MaxEvidence
	case rowsFile:
		return maxRowsFile
	}
	return signed.MaxDocument
}

// Seal signs the judgement, whose verdict then names all parts, and bundles the
// evidence behind it. round is the evidence of the averaging round, nil where
// the outcome is not Convicted.
func (j *Judgement) Seal(run *spec.Run, round *commit.Evidence, key ed25519.PrivateKey) (*Evidence, error) {
	e := &Evidence{Run: run, Verdict: &j.Verdict, Rows: j.Rows, Leaf: j.Leaf, Round: round, Claim: j.Claim.Envelope()}
	e.Validator = signed.IDOf(key.Public().(ed25519.PublicKey))
	if err := e.encode(); err != nil {
		return nil, err
	}
	v := e.Verdict
	v.Parts = nil
	for _, f := range e.files {
		if len(f.data) > capOf(f.name) {
			return nil, fault.Errorf(fault.Unexpected, "evidence: %s of %d bytes; at most %d are read", f.name, len(f.data), capOf(f.name))
		}
		v.Parts = append(v.Parts, Part{f.name, sha256.Sum256(f.data)})
	}
	envelope, err := v.Seal(key)
	if err != nil {
		return nil, err
	}
	e.files = append(e.files, file{verdictFile, envelope})
	return e, e.check()
}

// Judgement returns what was judged, as it was before Seal, so that a conviction
// can still follow. An error says that the claim cannot be read.
func (e *Evidence) Judgement() (*Judgement, error) {
	j := &Judgement{Verdict: *e.Verdict, Rows: e.Rows, Leaf: e.Leaf}
	if e.Claim == nil {
		return j, nil
	}
	var err error
	j.Claim, err = commit.Open[commit.Claim](e.Claim)
	return j, err
}

// Signed returns the verdict as the validator signed it.
func (e *Evidence) Signed() signed.Envelope { return e.files[len(e.files)-1].data }

// encode makes the files of all parts but the verdict, ascending by name.
func (e *Evidence) encode() error {
	run, err := signed.Marshal(e.Run)
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	e.files = nil
	if e.Claim != nil {
		e.files = append(e.files, file{claimFile, e.Claim})
	}
	if e.Leaf != nil {
		leaf, err := signed.Marshal(e.Leaf)
		if err != nil {
			return fmt.Errorf("evidence: %w", err)
		}
		e.files = append(e.files, file{leafFile, leaf})
	}
	if e.Round != nil {
		e.files = append(e.files, file{roundFile, e.Round.Encode()})
	}
	if e.Rows != nil {
		e.files = append(e.files, file{rowsFile, encodeRows(e.Rows)})
	}
	e.files = append(e.files, file{runFile, run})
	return nil
}

// parseEvidence reads the files of a folder and checks them against the
// verdict. Every error is fault.Undecided: with a part that is missing, changed
// or badly signed nothing can be said.
func parseEvidence(files []file) (*Evidence, error) {
	e := &Evidence{files: files}
	if len(files) == 0 || files[len(files)-1].name != verdictFile {
		return nil, undecided("%s is missing", verdictFile)
	}
	var err error
	if e.Verdict, e.Validator, err = OpenVerdict(e.Signed()); err != nil {
		return nil, fault.Wrap(fault.Undecided, fmt.Errorf("evidence: %s: %w", verdictFile, err))
	}
	parts := files[:len(files)-1]
	for _, p := range e.Verdict.Parts {
		i := slices.IndexFunc(parts, func(f file) bool { return f.name == p.Name })
		if i < 0 {
			return nil, undecided("%s, which the verdict names, is missing", p.Name)
		}
		if sha256.Sum256(parts[i].data) != p.Digest {
			return nil, undecided("%s is not the one that the verdict names", p.Name)
		}
	}
	for _, f := range parts {
		if !slices.ContainsFunc(e.Verdict.Parts, func(p Part) bool { return p.Name == f.name }) {
			return nil, undecided("the verdict names no %s", f.name)
		}
		if err := e.parse(f); err != nil {
			return nil, fault.Wrap(fault.Undecided, fmt.Errorf("evidence: %s: %w", f.name, err))
		}
	}
	return e, e.check()
}

// parse reads one part.
func (e *Evidence) parse(f file) (err error) {
	switch f.name {
	case claimFile:
		e.Claim = f.data
	case leafFile:
		e.Leaf = new(Leaf)
		err = signed.Unmarshal(f.data, e.Leaf)
	case roundFile:
		var round commit.Evidence
		round, err = commit.ParseEvidence(f.data)
		e.Round = &round
	case rowsFile:
		e.Rows, err = parseRows(f.data)
	case runFile:
		e.Run = new(spec.Run)
		if err = signed.Unmarshal(f.data, e.Run); err == nil {
			err = e.Run.Validate()
		}
	}
	return err
}

// check holds the parts against the verdict.
func (e *Evidence) check() error {
	v := e.Verdict
	switch {
	case e.Run == nil:
		return undecided("%s is missing", runFile)
	case e.Run.Fingerprint() != v.Fingerprint:
		return undecided("%s has fingerprint %s; the verdict is about run %s", runFile, e.Run.Fingerprint().Short(), v.Fingerprint.Short())
	case e.Claim == nil && !v.Claim.IsZero():
		return undecided("%s is missing", claimFile)
	case e.Claim != nil && e.Claim.Digest() != v.Claim:
		return undecided("%s is not the claim of the verdict", claimFile)
	case (e.Round != nil) != (v.Outcome == Convicted):
		return undecided("%s belongs to a verdict convicted, and only there", roundFile)
	case v.Outcome == Exact && (e.Claim == nil || e.Rows == nil), v.Outcome.False() && v.Outcome != Convicted && (e.Claim == nil || e.Rows == nil):
		return undecided("verdict %s lacks %s or %s", v.Outcome, claimFile, rowsFile)
	case e.Rows != nil && stream.RowsDigest(e.Rows) != v.Found.Rows:
		return undecided("%s are not the rows of the verdict", rowsFile)
	case !v.Differs.IsZero() && e.Leaf == nil:
		return undecided("%s is missing", leafFile)
	}
	return nil
}

func undecided(format string, args ...any) error {
	return fault.Errorf(fault.Undecided, "evidence: "+format, args...)
}

// rows.bin is the preimage of the rows digest, so that its SHA-256 is the claim's:
// "lockstep/rows/1" ‖ u64 count ‖ for each u64 row, digest.
const (
	rowsHead    = "lockstep/rows/1"
	rowSize     = 8 + len(merkle.Digest{})
	maxRowsFile = 64 << 20
)

func encodeRows(rows []stream.RowRef) []byte {
	b := binary.LittleEndian.AppendUint64([]byte(rowsHead), uint64(len(rows)))
	for _, r := range rows {
		b = binary.LittleEndian.AppendUint64(b, r.Row)
		b = append(b, r.Digest[:]...)
	}
	return b
}

func parseRows(b []byte) ([]stream.RowRef, error) {
	const head = len(rowsHead) + 8
	if len(b) < head || len(b) > maxRowsFile || string(b[:len(rowsHead)]) != rowsHead {
		return nil, fault.Errorf(fault.Damaged, "rows: not a list of rows")
	}
	count := binary.LittleEndian.Uint64(b[len(rowsHead):])
	b = b[head:]
	if len(b)%rowSize != 0 || count != uint64(len(b)/rowSize) {
		return nil, fault.Errorf(fault.Damaged, "rows: %d rows in %d bytes", count, len(b))
	}
	rows := make([]stream.RowRef, 0, count)
	for ; len(b) > 0; b = b[rowSize:] {
		rows = append(rows, stream.RowRef{Row: binary.LittleEndian.Uint64(b), Digest: merkle.Digest(b[8:rowSize])})
	}
	return rows, nil
}
