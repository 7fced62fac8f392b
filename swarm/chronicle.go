package swarm

import (
	"errors"
	"io/fs"

	"lockstep/hub"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
	"lockstep/validate"
	"lockstep/validate/ledger"
)

// Summary is a whole run as its validator saw it.
type Summary struct {
	Fingerprint merkle.Digest  `json:"fingerprint"`
	Epochs      []EpochSummary `json:"epochs"`
	Miners      []MinerSummary `json:"miners"`
}

// EpochSummary is one epoch.
type EpochSummary struct {
	Epoch      uint64        `json:"epoch"`
	Loss       float64       `json:"loss"` // token mean of the group on the base state, before the step
	StateRoot  merkle.Digest `json:"state_root"`
	NodesAgree bool          `json:"nodes_agree"`
	Members    int           `json:"members"`
	Attempts   int           `json:"attempts"`
	Tag        string        `json:"tag"` // empty while the epoch is not in the repository
	Tokens     uint64        `json:"tokens"`
	Seconds    float64       `json:"seconds"`
}

// MinerSummary is one miner over all epochs, with its newest scores.
type MinerSummary struct {
	UID       uint32        `json:"uid"`
	Peer      signed.PeerID `json:"peer_id"`
	Gradient  string        `json:"gradient"` // "exact"; "mismatch" if any epoch was; "none" without a verdict
	Kind      string        `json:"kind"`     // of cheat, the first that was found
	Evidence  string        `json:"evidence"` // folder of that, else of the newest verdict
	Steps     uint32        `json:"steps"`    // verified tokens relative to the most, in millionths
	Bandwidth uint32        `json:"bandwidth"`
	Score     uint32        `json:"score"` // moving average, in millionths
	Weight    uint16        `json:"weight"`
}

// chronicle is a validator's memory on disk: the docket of the epoch that is
// open, and the ledger of those that are settled.
type chronicle struct {
	dir     string // of the dockets
	trusted commit.Validators
	ledger  *ledger.Ledger
	found   ledger.Head // where the ledger ended when it was opened

	epochs []EpochSummary           // settled
	miners map[uint32]*MinerSummary // over settled epochs
	marks  []validate.Score         // after the newest settled epoch
	open   *docket                  // of the epoch after that
}

// openChronicle reads what the dockets and the ledger hold. An epoch that was
// settled, but had not reached the ledger, is entered now.
func openChronicle(f Folder, run *spec.Run, trusted commit.Validators) (*chronicle, error) {
	c := &chronicle{dir: f.Dockets(), trusted: trusted, miners: map[uint32]*MinerSummary{}}
	var err error
	if c.ledger, _, err = ledger.Open(f.Ledger()); err != nil {
		return nil, err
	}
	if c.found = c.ledger.Head(); c.found.Entries == 0 {
		if err := c.enter(validate.Record{Run: run}); err != nil {
			return nil, err
		}
	}
	epochs, err := docketEpochs(c.dir)
	if err != nil {
		return nil, err
	}
	for _, epoch := range epochs {
		d, err := loadDocket(c.dir, epoch)
		if err != nil {
			return nil, err
		}
		if !d.Settled {
			continue
		}
		if err := c.close(d); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// close takes over a settled docket and enters it in the ledger if it is not
// there.
func (c *chronicle) close(d *docket) error {
	if d.Epoch > c.ledger.Head().Epoch {
		r, err := d.entry(c.trusted)
		if err != nil {
			return err
		}
		if err := c.enter(r); err != nil {
			return err
		}
	}
	c.epochs = append(c.epochs, d.Summary)
	c.marks = d.Scores
	for _, f := range d.Findings {
		c.remember(f)
	}
	c.open = nil
	return nil
}

func (c *chronicle) enter(r validate.Record) error {
	entries, err := r.Entries()
	if err != nil {
		return err
	}
	return c.ledger.Append(entries...)
}

// remember adds a finding to its miner's summary.
func (c *chronicle) remember(f finding) {
	m := c.miners[f.UID]
	if m == nil || m.Peer != f.Peer {
		m = &MinerSummary{UID: f.UID, Peer: f.Peer, Gradient: "none"}
		c.miners[f.UID] = m
	}
	switch {
	case f.False:
		m.Gradient = "mismatch"
	case f.Exact && m.Gradient == "none":
		m.Gradient = "exact"
	}
	if m.Kind == "" {
		m.Kind, m.Evidence = f.Kind, f.Folder
	}
}

// settled returns the newest settled epoch.
func (c *chronicle) settled() uint64 {
	if len(c.epochs) == 0 {
		return 0
	}
	return c.epochs[len(c.epochs)-1].Epoch
}

// at returns the docket of an epoch, from disk if it was begun before a restart.
func (c *chronicle) at(epoch uint64) (*docket, error) {
	if c.open != nil && c.open.Epoch == epoch {
		return c.open, nil
	}
	d, err := loadDocket(c.dir, epoch)
	if errors.Is(err, fs.ErrNotExist) {
		d, err = &docket{Epoch: epoch}, nil
	}
	if err != nil {
		return nil, err
	}
	c.open = d
	return d, nil
}

// judged keeps a verdict.
func (c *chronicle) judged(j *validate.Judgement, folder string) error {
	v := &j.Verdict
	d, err := c.at(v.Epoch)
	if err != nil {
		return err
	}
	f := finding{
		UID: v.UID, Peer: v.Miner, Outcome: v.Outcome.String(), Kind: v.Kind(), Text: v.Text, Folder: folder,
		Exact: v.Outcome == validate.Exact, False: v.Outcome.False(), Claim: j.Claim.Envelope(),
	}
	if f.Exact {
		f.Tokens = v.Found.Tokens
	}
	d.find(f)
	return d.save(c.dir)
}

// concluded keeps how an attempt ended, once. fresh reports that it was not known.
func (c *chronicle) concluded(a reduce.Concluded) (fresh bool, err error) {
	d, err := c.at(a.Certified.Decision().Epoch)
	if err != nil || d.knows(a.Roster.Digest()) {
		return false, err
	}
	d.conclude(attemptOf(a))
	return true, d.save(c.dir)
}

// settle closes an epoch whose docket is complete.
func (c *chronicle) settle(d *docket) error {
	d.Settled = true
	if err := d.save(c.dir); err != nil {
		return err
	}
	return c.close(d)
}

// summary returns the run so far. Epochs up to tagged are in the repository.
func (c *chronicle) summary(fingerprint merkle.Digest, seats []control.Seat, tagged uint64) Summary {
	s := Summary{Fingerprint: fingerprint, Epochs: []EpochSummary{}, Miners: []MinerSummary{}}
	for _, e := range c.epochs {
		if e.Epoch <= tagged {
			e.Tag = hub.EpochTag(e.Epoch)
		}
		s.Epochs = append(s.Epochs, e)
	}
	for _, seat := range seats {
		m := MinerSummary{UID: seat.UID, Peer: seat.Peer, Gradient: "none"}
		if known := c.miners[seat.UID]; known != nil && known.Peer == seat.Peer {
			m = *known
		}
		for _, mark := range c.marks {
			if mark.UID == seat.UID && mark.Peer == seat.Peer {
				m.Steps, m.Bandwidth, m.Score, m.Weight = mark.Steps, mark.Bandwidth, mark.Average, mark.Weight
			}
		}
		s.Miners = append(s.Miners, m)
	}
	return s
}

func (c *chronicle) shut() { c.ledger.Close() }
