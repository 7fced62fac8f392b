package validate

import (
	"context"
	"fmt"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/reduce/commit"
	"lockstep/stream"
)

// Verifier decides once more what a validator decided, from evidence and from
// what anybody can get: the text and the parameters of the base state.
type Verifier struct {
	// Source opens the text that the run trains on; Verify closes it.
	Source func(ctx context.Context, run *spec.Run) (stream.Source, error)
	// Parameters returns the parameters after so many averagings: those of the
	// seed for 0 (see SeedParameters), of a repository's tag beyond.
	Parameters func(ctx context.Context, run *spec.Run, epoch uint64) (*model.Parameters, error)
	// MicroBatch is how many sequences go through the model at a time; it
	// changes no bit.
	MicroBatch int
	// Progress, if set, is called during the recomputation.
	Progress func(done, total int)
}

// SeedParameters returns the initial parameters of a run that starts from its
// seed.
func SeedParameters(run *spec.Run) (*model.Parameters, error) {
	if run.Init.Kind != "seed" {
		return nil, fault.Errorf(fault.Config, "the run starts from given weights (root %s), not from its seed", run.Init.Parameters.Short())
	}
	config, err := model.FromSpec(run.Model)
	if err != nil {
		return nil, err
	}
	return model.Initialise(config, run.Assignment.Seed), nil
}

// Mark says how a line of a report came out.
type Mark uint8

// The marks.
const (
	Equal     Mark = 1 // checked, and so
	Differs   Mark = 2 // checked, and not so
	Unchecked Mark = 3 // somebody's word, or not reached
)

var markNames = [...]string{1: "equal", 2: "differs", 3: "unchecked"}

// String returns the mark's name.
func (m Mark) String() string { return markNames[m] }

// MarshalText makes marks names in JSON.
func (m Mark) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Line is one step of a verification, for people.
type Line struct {
	Step string `json:"step"`
	Mark Mark   `json:"mark"`
	Text string `json:"text"`
}

// Report is what a verification found. Where it ends in an error, Lines hold
// the steps up to there.
type Report struct {
	Epoch     uint64        `json:"epoch"`
	UID       uint32        `json:"uid"`
	Miner     signed.PeerID `json:"miner"`
	Validator signed.PeerID `json:"validator"`
	Kind      string        `json:"kind"` // of cheat, by this verification; empty without
	Lines     []Line        `json:"lines"`
	Miners    bool          `json:"miner_false"`     // the miner signed what is not so
	Verdicts  bool          `json:"validator_false"` // the validator did
}

// FalseError says that somebody signed what is not so. Its kind is fault.False.
type FalseError struct {
	Who  string // "miner ..." or "validator ..."
	Text string
}

func (e *FalseError) Error() string { return e.Who + ": " + e.Text }

// Fault makes it exit code 10.
func (e *FalseError) Fault() fault.Kind { return fault.False }

// Verify decides once more about e. A nil error means that the claim is true
// and the verdict says so; a *FalseError, that miner or validator signed
// something false, a verdict that contradicts the recomputation included;
// fault.Undecided, that the evidence, with the text and parameters at hand, is
// not enough to tell. Other errors come from Source and Parameters.
func (v *Verifier) Verify(ctx context.Context, e *Evidence) (*Report, error) {
	d := e.Verdict
	c := &checking{Verifier: v, e: e, report: Report{Epoch: d.Epoch, UID: d.UID, Miner: d.Miner, Validator: e.Validator}}
	c.line("verdict", Unchecked, "%s, signed by validator %s", d.Outcome, e.Validator.Short())
	var err error
	if d.Outcome == Convicted {
		err = c.round()
	} else {
		err = c.claim(ctx)
	}
	if err == nil {
		err = c.conclusion()
	}
	return &c.report, err
}

// checking is one verification under way.
type checking struct {
	*Verifier
	e      *Evidence
	report Report
	wrong  string // what is false, the miner's falsehood before the validator's
}

func (c *checking) line(step string, m Mark, format string, args ...any) {
	c.report.Lines = append(c.report.Lines, Line{step, m, fmt.Sprintf(format, args...)})
}

// blameMiner notes that the miner signed what is not so.
func (c *checking) blameMiner(kind, text string) {
	c.report.Miners, c.report.Kind, c.wrong = true, kind, text
}

// blameValidator notes that the verdict contradicts what was found.
func (c *checking) blameValidator(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.line("verdict", Differs, "the validator's word is false: %s", text)
	if c.report.Verdicts = true; c.wrong == "" {
		c.wrong = text
	}
}

func (c *checking) conclusion() error {
	switch {
	case c.report.Miners:
		return &FalseError{fmt.Sprintf("miner %s (uid %d, epoch %d)", c.report.Miner.Short(), c.report.UID, c.report.Epoch), c.wrong}
	case c.report.Verdicts:
		return &FalseError{fmt.Sprintf("validator %s (on uid %d, epoch %d)", c.report.Validator.Short(), c.report.UID, c.report.Epoch), c.wrong}
	}
	c.line("verdict", Equal, "%s, confirmed", c.e.Verdict.Outcome)
	return nil
}

// round decides about evidence of the averaging round, which needs neither
// text nor parameters. The verdict pins its bytes, so that evidence which
// convicts nobody is the validator's doing.
func (c *checking) round() error {
	v := c.e.Verdict
	f, err := commit.Judge(*c.e.Round)
	switch {
	case err != nil:
		c.blameValidator("%s is not proven: %v", v.Round, err)
	case f.Accused != v.Miner || f.Kind != v.Round:
		c.blameValidator("the evidence convicts %s of %s", f.Accused.Short(), f.Kind)
	case !c.sameCase():
		c.blameValidator("the evidence is of another epoch, run or claim")
	default:
		c.line("round", Differs, "%s", f.Text)
		c.blameMiner(f.Kind.String(), f.Text)
	}
	return nil
}

// sameCase reports whether the roster of the round's evidence, if it has one,
// is of the verdict's run and epoch, and lists the claim of the folder.
func (c *checking) sameCase() bool {
	v := c.e.Verdict
	r, err := commit.Open[commit.Roster](c.e.Round.Roster)
	if err != nil {
		return c.e.Round.Kind == commit.Equivocation
	}
	roster := r.Doc()
	i := roster.Index(v.Miner)
	return roster.Fingerprint == v.Fingerprint && roster.RunID == v.RunID && roster.Epoch == v.Epoch &&
		i >= 0 && roster.Members[i].UID == v.UID && (c.e.Claim == nil || roster.Members[i].Claim == v.Claim)
}

// claim decides about a claim by recomputing it.
func (c *checking) claim(ctx context.Context) error {
	v := c.e.Verdict
	config, err := model.FromSpec(c.e.Run.Model)
	if err != nil {
		return fault.Wrap(fault.Undecided, err)
	}
	q := Query{RunID: v.RunID, Epoch: v.Epoch, UID: v.UID, Miner: v.Miner, Base: v.Base, Claim: c.e.Claim}
	layout := model.NewLayout(config)
	claim, outcome, text := admit(c.e.Run, layout, q)
	switch outcome {
	case 0:
	case Absent:
		return undecided("there is no claim to check; that none came is the validator's word")
	case WrongBase:
		if v.Outcome != WrongBase {
			c.blameValidator("%s; the claim was %s", v.Outcome, text)
			return nil
		}
		return undecided("%s; evidence holds no other state", text)
	default:
		return undecided("the claim is not one of this miner: %s", text)
	}
	facts := factsOf(claim.Doc())
	c.line("claim", Equal, "signed by miner %s, %d sequences, %d tokens", v.Miner.Short(), facts.Sequences, facts.Tokens)
	parameters, err := c.base(ctx, layout.Elements)
	if err != nil {
		return err
	}
	return c.recomputed(ctx, facts, parameters)
}

// base gets the parameters and checks that they are those of the base state.
func (c *checking) base(ctx context.Context, elements int) (*model.Parameters, error) {
	b := c.e.Verdict.Base
	p, err := c.Parameters(ctx, c.e.Run, b.Epoch)
	if err != nil {
		return nil, fmt.Errorf("parameters of epoch %d: %w", b.Epoch, err)
	}
	if len(p.Data) != elements {
		return nil, undecided("the parameters given for epoch %d are of another architecture", b.Epoch)
	}
	if root := p.Root(); root != b.Parameters {
		c.line("base", Differs, "parameters of epoch %d have root %s, the verdict's are %s", b.Epoch, root.Short(), b.Parameters.Short())
		return nil, undecided("the parameters given for epoch %d are not those of the claim's base state", b.Epoch)
	}
	c.line("base", Equal, "parameters of epoch %d, root %s; state %s", b.Epoch, b.Parameters.Short(), b.Root().Short())
	if b.Epoch == 0 && b != model.NewState(p).Header() {
		c.blameValidator("a run begins with step 0 and moments of zero; state %s does not", b.Root().Short())
	}
	return p, nil
}
