package commit

import "fmt"

// Kind says what a member did, or is said to have done.
type Kind uint8

// Kinds that nobody can prove to a third party. They cost a member its place in
// the next attempt, nothing more.
const (
	Silent   Kind = 1 // it answered the leader too late or not at all
	Missing  Kind = 2 // its opening or its chunks did not come
	Garbage  Kind = 3 // it sent bytes that do not fit its own header, or no protocol
	Accuser  Kind = 4 // it accused a member that nobody else accused, so both pause
	Minority Kind = 5 // it voted for another root than most
	Expelled Kind = 6 // the validators found its claim false by recomputation
	Stalled  Kind = 7 // its averaged part did not come
)

// Kinds that Evidence proves.
const (
	Recommit     Kind = 16 // commitment or opening differ from the claim
	Switch       Kind = 17 // it scattered another gradient than it claimed
	NonFinite    Kind = 18 // it sent NaN or Inf
	Fork         Kind = 19 // its averaged part differs from its receipt
	Equivocation Kind = 20 // it signed two different documents where one is due
	WrongSum     Kind = 21 // its receipt is not over the sum of the inputs
)

var kindNames = map[Kind]string{
	Silent: "silent", Missing: "missing", Garbage: "garbage", Accuser: "accuser",
	Minority: "minority", Expelled: "expelled", Stalled: "stalled", Recommit: "recommit",
	Switch: "switch", NonFinite: "non-finite", Fork: "fork",
	Equivocation: "equivocation", WrongSum: "wrong-sum",
}

// String returns the kind's name, as it appears in JSON.
func (k Kind) String() string {
	if s, ok := kindNames[k]; ok {
		return s
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Provable reports whether the kind comes with Evidence.
func (k Kind) Provable() bool { return k >= Recommit && k <= WrongSum }
