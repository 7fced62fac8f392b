package validate

import (
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/reduce/commit"
)

// Attempt is what a validator holds of one averaging attempt. Documents of
// other attempts among them are ignored.
type Attempt struct {
	Roster      commit.Signed[commit.Roster]
	Commitments []commit.Signed[commit.Commitment]
	Set         commit.Signed[commit.Set]
	Openings    []commit.Signed[commit.Opening]
	Receipts    []commit.Signed[commit.Receipt]
	Votes       []commit.Signed[commit.Vote]
	Decision    commit.Certified
}

// Participation is what others signed about one member of an attempt.
type Participation struct {
	UID      uint32        `json:"uid"`
	Peer     signed.PeerID `json:"peer_id"`
	Receipts int           `json:"receipts"` // owners that signed that its gradient is in their part
	Votes    int           `json:"votes"`    // members that signed for the whole result, its part included
	Averaged bool          `json:"averaged"`
}

// Participate answers the AllReduce query: whose gradients are in the average
// of a decided attempt, and who delivered its part. It looks only at what
// others signed about a member, never at the member's own word:
//
//   - a receipt names the claimed roots of all members as the inputs of a part,
//     so each other owner's receipt says that the member's gradient is in;
//   - an ok vote for the decided root says that all parts arrived, so each other
//     member's vote says that the member's part did.
//
// Averaged is true where a certified COMMIT lists the member and at least one
// receipt and one vote of another do: a lost receipt of somebody else must not
// hurt it, and more than two thirds of the votes were on the root anyway. Where
// nobody else owns a part no receipt is asked for (what an owner adds up itself
// is for audits to check), and in a group of one the COMMIT alone counts. The
// result is in uid order.
func Participate(a Attempt) ([]Participation, error) {
	roster, id := a.Roster.Doc(), a.Roster.Digest()
	if a.Roster.IsZero() || a.Decision.IsZero() || a.Decision.Decision().Roster != id {
		return nil, fault.Errorf(fault.Undecided, "participation: no certified decision over the roster of this attempt")
	}
	decision := a.Decision.Decision()
	committed := decision.Verdict == commit.Commit
	if committed && !listsMembers(decision, roster) {
		return nil, fault.Errorf(fault.Damaged, "participation: the decision of epoch %d lists other members than its roster", decision.Epoch)
	}
	owners := make([]bool, len(roster.Members))
	for i, m := range roster.Members {
		owners[i] = m.Part.Count > 0
	}
	receipts := receiptSigners(a.Receipts, roster, id)
	votes := voteSigners(a.Votes, roster, id, decision.Result)
	out := make([]Participation, len(roster.Members))
	for i, m := range roster.Members {
		p := Participation{UID: m.UID, Peer: m.Peer, Receipts: others(receipts, i)}
		if committed {
			p.Votes = others(votes, i)
			p.Averaged = len(roster.Members) == 1 || (p.Votes > 0 && (p.Receipts > 0 || others(owners, i) == 0))
		}
		out[i] = p
	}
	return out, nil
}

func listsMembers(d commit.Decision, r commit.Roster) bool {
	if len(d.Members) != len(r.Members) {
		return false
	}
	for i, m := range r.Members {
		if d.Members[i] != m.UID {
			return false
		}
	}
	return true
}

// receiptSigners marks the members that own a part and signed for it that all
// claimed gradients are in.
func receiptSigners(receipts []commit.Signed[commit.Receipt], r commit.Roster, id merkle.Digest) []bool {
	signers := make([]bool, len(r.Members))
	inputs := r.Inputs()
	for _, s := range receipts {
		i, doc := r.Index(s.Signer()), s.Doc()
		if i >= 0 && doc.Roster == id && doc.UID == r.Members[i].UID && doc.Inputs == inputs && r.Members[i].Part.Count > 0 {
			signers[i] = true
		}
	}
	return signers
}

// voteSigners marks the members that voted for result.
func voteSigners(votes []commit.Signed[commit.Vote], r commit.Roster, id, result merkle.Digest) []bool {
	signers := make([]bool, len(r.Members))
	for _, s := range votes {
		i, doc := r.Index(s.Signer()), s.Doc()
		if i >= 0 && doc.Roster == id && doc.UID == r.Members[i].UID && doc.OK && doc.Result == result {
			signers[i] = true
		}
	}
	return signers
}

// others counts the marked members, member i left out.
func others(marked []bool, i int) int {
	n := 0
	for k, is := range marked {
		if is && k != i {
			n++
		}
	}
	return n
}
