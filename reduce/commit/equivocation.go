package commit

import (
	"fmt"

	"lockstep/internal/merkle"
)

// place is what a signer may fill only once.
type place struct {
	domain string
	scope  merkle.Digest // roster, or the run's fingerprint
	a, b   uint64
}

func (d Roster) place() place     { return place{d.domain(), d.Fingerprint, d.Epoch, uint64(d.Attempt)} }
func (d Decision) place() place   { return place{d.domain(), d.Fingerprint, d.Epoch, uint64(d.Attempt)} }
func (d Commitment) place() place { return place{d.domain(), d.Roster, 0, 0} }
func (d Set) place() place        { return place{d.domain(), d.Roster, 0, 0} }
func (d Opening) place() place    { return place{d.domain(), d.Roster, 0, 0} }
func (d Receipt) place() place    { return place{d.domain(), d.Roster, 0, 0} }
func (d Vote) place() place       { return place{d.domain(), d.Roster, 0, 0} }
func (d Header) place() place     { return place{d.domain(), d.Roster, uint64(d.Stream), uint64(d.Chunk)} }

// placed are the documents of which a place takes one. Claims are not among
// them: a member that found its base state wrong claims again on the right one.
type placed interface {
	Roster | Commitment | Set | Opening | Header | Receipt | Vote | Decision
	Document
	place() place
}

func judgeEquivocation(e Evidence) (Finding, error) {
	if f, ok := equivocated[Roster](e); ok {
		return f, nil
	}
	if f, ok := equivocated[Decision](e); ok {
		return f, nil
	}
	if f, ok := equivocated[Commitment](e); ok {
		return f, nil
	}
	if f, ok := equivocated[Set](e); ok {
		return f, nil
	}
	if f, ok := equivocated[Opening](e); ok {
		return f, nil
	}
	if f, ok := equivocated[Header](e); ok {
		return f, nil
	}
	if f, ok := equivocated[Receipt](e); ok {
		return f, nil
	}
	if f, ok := equivocated[Vote](e); ok {
		return f, nil
	}
	return Finding{}, undecided("these are not two documents of one signer for one place")
}

func equivocated[T placed](e Evidence) (Finding, bool) {
	a, errA := Open[T](e.First)
	b, errB := Open[T](e.Second)
	if errA != nil || errB != nil || a.signer != b.signer || a.digest == b.digest || a.doc.place() != b.doc.place() {
		return Finding{}, false
	}
	f := Finding{Accused: a.signer, Kind: Equivocation}
	if r, err := Open[Roster](e.Roster); err == nil {
		if i := r.doc.Index(a.signer); i >= 0 {
			f.UID = r.doc.Members[i].UID
		}
	}
	f.Text = fmt.Sprintf("%s signed two documents %s: %s and %s", a.signer.Short(), a.doc.domain(), a.digest.Short(), b.digest.Short())
	return f, true
}
