package commit

import (
	"fmt"

	"lockstep/internal/merkle"
	"lockstep/internal/spec"
)

// place is what a signer may fill only once.
type place struct {
	domain string
	run    spec.RunID    // of documents that name no roster
	roster merkle.Digest // of the others
	a, b   uint64
}

func (d Roster) place() place     { return ofRun(d.domain(), d.RunID, d.Epoch, d.Attempt) }
func (d Decision) place() place   { return ofRun(d.domain(), d.RunID, d.Epoch, d.Attempt) }
func (d Commitment) place() place { return ofRoster(d.domain(), d.Roster) }
func (d Set) place() place        { return ofRoster(d.domain(), d.Roster) }
func (d Opening) place() place    { return ofRoster(d.domain(), d.Roster) }
func (d Receipt) place() place    { return ofRoster(d.domain(), d.Roster) }
func (d Vote) place() place       { return ofRoster(d.domain(), d.Roster) }

func (d Header) place() place {
	p := ofRoster(d.domain(), d.Roster)
	p.a, p.b = uint64(d.Stream), uint64(d.Chunk)
	return p
}

func ofRun(domain string, run spec.RunID, epoch uint64, attempt uint32) place {
	return place{domain: domain, run: run, a: epoch, b: uint64(attempt)}
}

func ofRoster(domain string, roster merkle.Digest) place {
	return place{domain: domain, roster: roster}
}

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
	r, err := Open[Roster](e.Roster)
	if p := a.doc.place(); !p.roster.IsZero() && (err != nil || r.digest != p.roster) {
		return Finding{}, false // of which attempt, nobody could say
	}
	if i := r.doc.Index(a.signer); i >= 0 {
		f.UID = r.doc.Members[i].UID
	}
	f.Text = fmt.Sprintf("%s signed two documents %s: %s and %s", a.signer.Short(), a.doc.domain(), a.digest.Short(), b.digest.Short())
	return f, true
}
