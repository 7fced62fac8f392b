package validate

import "fmt"

// Stage is a step on the way from assignment to gradient, in the order in which
// claims are compared. Count stands second because it follows from the
// assignment alone: rows and tokens are those of the first so many windows.
type Stage uint8

// The stages at which a claim can first be wrong.
const (
	StageSegments Stage = 1 // which segments the seat owes
	StageCount    Stage = 2 // how many sequences and tokens
	StageRows     Stage = 3 // the text of their rows
	StageTokens   Stage = 4 // the token ids
	StageLoss     Stage = 5 // the summed loss, to the bit
	StageGradient Stage = 6 // the gradient, to the bit
)

var stageNames = [...]string{1: "segments", 2: "count", 3: "rows", 4: "tokens", 5: "loss", 6: "gradient"}

// String returns the stage's name, "" for none.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("stage(%d)", uint8(s))
}

// MarshalText makes stages names in JSON.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Outcome is what a validator found about one miner in one epoch.
type Outcome uint8

// The outcomes; there are no others.
const (
	Exact     Outcome = 1 // recomputed, bit for bit
	Mismatch  Outcome = 2 // recomputed, and different from Verdict.Stage on
	Withheld  Outcome = 3 // the gradient differs, and the miner does not show what it claimed
	Convicted Outcome = 4 // signed evidence of the averaging round: Verdict.Round
	WrongBase Outcome = 5 // a claim on another state than the run's
	Malformed Outcome = 6 // no claim of this miner for this epoch and run
	Absent    Outcome = 7 // no claim by the deadline
)

var outcomeNames = [...]string{
	1: "exact", 2: "mismatch", 3: "withheld", 4: "convicted", 5: "wrong-base", 6: "malformed", 7: "absent",
}

// String returns the outcome's name.
func (o Outcome) String() string {
	if o >= 1 && int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText makes outcomes names in JSON.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// False reports whether the miner signed something that is not so. The other
// outcomes without a score, a claim on a state of its own included, may befall
// an honest machine.
func (o Outcome) False() bool { return o == Mismatch || o == Withheld || o == Convicted }
