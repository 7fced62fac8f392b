package swarm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/model"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/validate"
)

// docket is all that a validator knows of one epoch, in a JSON file that is
// replaced whenever something is added: a validator that was killed settles the
// epoch from it. Once the epoch is settled, the ledger gets it in one piece.
type docket struct {
	Epoch    uint64             `json:"epoch"`
	Findings []finding          `json:"findings"` // ascending by uid
	Attempts []attempt          `json:"attempts"` // the first and the newest; see keepAttempts
	Dropped  uint32             `json:"dropped"`  // attempts between them that are not kept
	Registry signed.Envelope    `json:"registry"`
	State    model.Header       `json:"state"` // after the epoch
	Reports  []report           `json:"reports"`
	Audits   []validate.Audited `json:"audits"`
	Nonce    merkle.Digest      `json:"nonce"`
	Measures []validate.Measure `json:"measures"`
	Scores   []validate.Score   `json:"scores"`
	Summary  EpochSummary       `json:"summary"`
	Settled  bool               `json:"settled"`
}

// finding is what the validator found about one miner.
type finding struct {
	UID     uint32          `json:"uid"`
	Peer    signed.PeerID   `json:"peer_id"`
	Outcome string          `json:"outcome"`
	Kind    string          `json:"kind"` // of cheat
	Text    string          `json:"text"`
	Exact   bool            `json:"exact"`
	False   bool            `json:"false"`
	Tokens  uint64          `json:"tokens"`
	Folder  string          `json:"evidence"`
	Claim   signed.Envelope `json:"claim"`
}

// attempt is one attempt at averaging, as the leader signed and collected it.
type attempt struct {
	Roster      signed.Envelope   `json:"roster"`
	Commitments []signed.Envelope `json:"commitments"`
	Set         signed.Envelope   `json:"set"`
	Openings    []signed.Envelope `json:"openings"`
	Receipts    []signed.Envelope `json:"receipts"`
	Votes       []signed.Envelope `json:"votes"`
	Decision    []signed.Envelope `json:"decision"` // signatures of the certificate
}

func attemptOf(c reduce.Concluded) attempt {
	return attempt{
		Roster: c.Roster.Envelope(), Commitments: envelopes(c.Commitments), Set: c.Set.Envelope(),
		Openings: envelopes(c.Openings), Receipts: envelopes(c.Receipts), Votes: envelopes(c.Votes), Decision: c.Certified.Certificate().Signatures,
	}
}

func envelopes[T commit.Document](docs []commit.Signed[T]) []signed.Envelope {
	out := make([]signed.Envelope, len(docs))
	for i, d := range docs {
		out[i] = d.Envelope()
	}
	return out
}

// open verifies the documents again.
func (a attempt) open(trusted commit.Validators) (validate.Attempt, error) {
	var out validate.Attempt
	var errs [7]error
	out.Roster, errs[0] = commit.Open[commit.Roster](a.Roster)
	out.Commitments, errs[1] = openAll[commit.Commitment](a.Commitments)
	if a.Set != nil {
		out.Set, errs[2] = commit.Open[commit.Set](a.Set)
	}
	out.Receipts, errs[3] = openAll[commit.Receipt](a.Receipts)
	out.Votes, errs[4] = openAll[commit.Vote](a.Votes)
	out.Openings, errs[5] = openAll[commit.Opening](a.Openings)
	out.Decision, errs[6] = trusted.Decision(commit.Certificate{Signatures: a.Decision})
	return out, errors.Join(errs[:]...)
}

func openAll[T commit.Document](es []signed.Envelope) ([]commit.Signed[T], error) {
	out := make([]commit.Signed[T], len(es))
	for i, e := range es {
		var err error
		if out[i], err = commit.Open[T](e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// find enters a finding in its place.
func (d *docket) find(f finding) {
	i, found := slices.BinarySearchFunc(d.Findings, f, func(a, b finding) int { return int(int64(a.UID) - int64(b.UID)) })
	if found {
		d.Findings[i] = f
	} else {
		d.Findings = slices.Insert(d.Findings, i, f)
	}
}

// of returns the finding about a seat.
func (d *docket) of(uid uint32) (finding, bool) {
	i := slices.IndexFunc(d.Findings, func(f finding) bool { return f.UID == uid })
	if i < 0 {
		return finding{}, false
	}
	return d.Findings[i], true
}

// loss adds up what the members of a decision claimed, in uid order.
func (d *docket) loss(members []uint32) (sum float64, err error) {
	for _, uid := range members {
		f, ok := d.of(uid)
		if !ok {
			return 0, fault.Errorf(fault.Damaged, "epoch %d: the claim of uid %d, which was averaged, is not in the docket", d.Epoch, uid)
		}
		c, err := commit.Open[commit.Claim](f.Claim)
		if err != nil {
			return 0, fmt.Errorf("epoch %d: the claim of uid %d: %w", d.Epoch, uid, err)
		}
		sum += c.Doc().Loss()
	}
	return sum, nil
}

// keepAttempts is how many of the first, and how many of the newest attempts at an
// epoch are kept: it may stay open for days, and everybody's documents of an
// attempt can have megabytes. The first ones tell how it began, the last ones
// how it ended; of the others the number is known.
const keepAttempts = 8

// conclude adds the newest attempt.
func (d *docket) conclude(a attempt) {
	if len(d.Attempts) == 2*keepAttempts {
		d.Attempts = slices.Delete(d.Attempts, keepAttempts, keepAttempts+1)
		d.Dropped++
	}
	d.Attempts = append(d.Attempts, a)
}

// knows reports whether the attempt of a roster is here.
func (d *docket) knows(roster merkle.Digest) bool {
	return slices.ContainsFunc(d.Attempts, func(a attempt) bool { return a.Roster.Digest() == roster })
}

// committed returns the attempt that ended in the epoch's COMMIT, nil where it is
// not here.
func (d *docket) committed(trusted commit.Validators) (*validate.Attempt, error) {
	for _, a := range slices.Backward(d.Attempts) {
		open, err := a.open(trusted)
		if err != nil {
			return nil, fmt.Errorf("epoch %d: an attempt in the docket: %w", d.Epoch, err)
		}
		if open.Decision.Decision().Verdict == commit.Commit {
			return &open, nil
		}
	}
	return nil, nil
}

// entry is the epoch as the ledger keeps it.
func (d *docket) entry(trusted commit.Validators) (validate.Record, error) {
	r := validate.Record{
		Epoch: d.Epoch, Registry: d.Registry, State: &d.State, Nonce: validate.Nonce(d.Nonce), Measures: d.Measures, Scores: d.Scores,
	}
	for _, f := range d.Findings {
		if f.Claim != nil {
			if c, err := commit.Open[commit.Claim](f.Claim); err == nil {
				r.Claims = append(r.Claims, c)
			}
		}
		e, err := validate.ReadEvidence(f.Folder)
		if err != nil {
			return r, err
		}
		r.Verdicts = append(r.Verdicts, e)
	}
	for _, a := range d.Attempts {
		open, err := a.open(trusted)
		if err != nil {
			return r, fmt.Errorf("epoch %d: an attempt in the docket: %w", d.Epoch, err)
		}
		r.Attempts = append(r.Attempts, open)
	}
	return r, nil
}

// maxDocket caps a docket's file. 2 keepAttempts attempts of spec.MaxSlots members
// that all blame each other have about 70 MB.
const maxDocket = 256 << 20

const docketSuffix = ".json"

func docketPath(dir string, epoch uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%012d%s", epoch, docketSuffix))
}

// save replaces the docket's file.
func (d *docket) save(dir string) error {
	b, err := json.MarshalIndent(d, "", " ")
	if err == nil && len(b) >= maxDocket {
		err = fault.Errorf(fault.Unexpected, "%d bytes; at most %d are read", len(b), maxDocket)
	}
	if err == nil {
		err = durable.Replace(docketPath(dir, d.Epoch), 0o644, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("docket of epoch %d: %w", d.Epoch, err)
	}
	return nil
}

// loadDocket reads the docket of an epoch; an fs.ErrNotExist where there is
// none.
func loadDocket(dir string, epoch uint64) (*docket, error) {
	path := docketPath(dir, epoch)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxDocket {
		return nil, fault.Errorf(fault.Damaged, "docket %s: %d bytes; at most %d are read", path, info.Size(), maxDocket)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := new(docket)
	if err := json.Unmarshal(b, d); err != nil || d.Epoch != epoch {
		return nil, fault.Errorf(fault.Damaged, "docket %s: not of epoch %d, or %v", path, epoch, err)
	}
	return d, nil
}

// docketEpochs lists the epochs that have dockets, ascending.
func docketEpochs(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), docketSuffix)
		if epoch, err := strconv.ParseUint(name, 10, 64); ok && err == nil {
			out = append(out, epoch)
		}
	}
	slices.Sort(out)
	return out, nil
}
