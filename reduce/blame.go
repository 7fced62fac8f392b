package reduce

import (
	"slices"

	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// testimony is all that the leader knows of an aborted attempt. Members are
// positions in the roster.
type testimony struct {
	convicted  []commit.Kind  // proved, or expelled by the validators; zero if not
	silent     []bool         // did not answer in time, or is gone
	voted      []*commit.Vote // nil without
	accusation []accusation   // unproved ones, in order of accuser, then accused
	witness    merkle.Digest  // the result that the validator's own observer holds; zero without
	uids       []uint32       // of the members
	charges    []charge       // of earlier attempts
}

type accusation struct {
	by, against int
	kind        commit.Kind
}

// charge is an accusation of an earlier attempt that nothing decided, by uids.
type charge struct {
	epoch       uint64
	by, against uint32
}

// keepCharges is for how many epochs a leader remembers charges, and maxCharges
// how many.
const (
	keepCharges = 16
	maxCharges  = 4096
)

// exclude decides who is not in the next attempt, and why; undecided are the
// accusations of which it knows only that one of the two is at fault. Nobody is
// believed on his word alone:
//
//  1. who was proved wrong is out;
//  2. who was silent is out;
//  3. who accuses two or more, and more than a third of the group, is out, and
//     his word with him: so many are not taken to be faulty;
//  4. who is accused by two or more, and more than a third of the group, is out;
//  5. of what accusations remain, one of the two is at fault, and nobody else can
//     tell which. So charges are remembered. Who accused somebody else before is
//     out, and not the accused; who was accused by somebody else before is out, and
//     not the accuser. Two who are both new to it may try once more; two who
//     come up for the second time, or both have a record, are both out;
//  6. who voted for another result than the validator saw, or than more than
//     half of the group did, is out;
//  7. where all this names nobody, and nobody may try once more, those who voted
//     fail are out.
//
// A member that slanders one peer after the other thus costs a single attempt,
// and then only itself its seat. One that always slanders the same peer takes it
// along, as does one that starves the same peer. Two that slander the same one
// put it out of its seat and keep theirs, as two that it starves do: the records
// of the two cases are the same.
func exclude(t testimony) (out []commit.Kind, undecided []accusation) {
	n := len(t.silent)
	out = slices.Clone(t.convicted)
	for i := range out {
		if out[i] == 0 && t.silent[i] {
			out[i] = commit.Silent
		}
	}
	open := slices.DeleteFunc(slices.Clone(t.accusation), func(a accusation) bool {
		return out[a.by].Provable() || out[a.against] != 0 || a.kind == commit.Stalled && excused(t, a.against)
	})
	by, against := make([]int, n), make([]int, n)
	for _, a := range open {
		by[a.by]++
	}
	for i := range out {
		if out[i] == 0 && many(by[i], n) {
			out[i] = commit.Accuser
		}
	}
	for _, a := range open {
		if out[a.by] != commit.Accuser {
			against[a.against]++
		}
	}
	for _, a := range open {
		if out[a.against] == 0 && many(against[a.against], n) {
			out[a.against] = a.kind
		}
	}
	for _, a := range open {
		if out[a.by] == 0 && out[a.against] == 0 {
			undecided = append(undecided, a)
		}
	}
	spared := false
	for _, a := range undecided {
		if out[a.by] == 0 && out[a.against] == 0 {
			spared = t.weigh(a, undecided, out) || spared
		}
	}
	minority(t, out)
	if !spared {
		idle(t, out)
	}
	return out, undecided
}

// weigh decides on one member's word against another's by their records, this
// attempt included. spared reports that both may try once more.
func (t testimony) weigh(a accusation, undecided []accusation, out []commit.Kind) (spared bool) {
	by, against := t.uids[a.by], t.uids[a.against]
	accuses, accused, again := false, false, false
	for _, c := range t.charges {
		accuses = accuses || c.by == by && c.against != against
		accused = accused || c.against == against && c.by != by
		again = again || c.by == by && c.against == against
	}
	for _, u := range undecided {
		accuses = accuses || u.by == a.by && u.against != a.against
		accused = accused || u.against == a.against && u.by != a.by
	}
	switch {
	case accuses && !accused:
		out[a.by] = commit.Accuser
	case accused && !accuses:
		out[a.against] = a.kind
	case accused || again:
		out[a.by], out[a.against] = commit.Accuser, a.kind
	default:
		return true
	}
	return false
}

// idle marks those who voted fail where nobody else is named: a vote that ends
// an attempt must name somebody, or it could end every attempt.
func idle(t testimony, out []commit.Kind) {
	for _, k := range out {
		if k != 0 {
			return
		}
	}
	for i, v := range t.voted {
		if v != nil && !v.OK {
			out[i] = commit.Accuser
		}
	}
}

// many is more than one, and more than a third of n.
func many(k, n int) bool { return k > 1 && 3*k > n }

// excused reports whether member i said itself that it could not average its
// part for want of others' bytes: then the part's absence is not its fault.
func excused(t testimony, i int) bool {
	v := t.voted[i]
	return v != nil && !v.OK && !v.Reduced && len(v.Blames) > 0
}

// minority marks ok voters whose result is not the right one, as far as that is
// known. Where somebody gave out two results, voters could not know.
func minority(t testimony, out []commit.Kind) {
	if slices.Contains(out, commit.Fork) || slices.Contains(out, commit.Equivocation) {
		return
	}
	right := t.witness
	for _, v := range t.voted {
		if right.IsZero() && v != nil && v.OK && 2*t.votes(v.Result) > len(t.voted) {
			right = v.Result
		}
	}
	for i, v := range t.voted {
		if !right.IsZero() && v != nil && v.OK && v.Result != right && out[i] == 0 {
			out[i] = commit.Minority
		}
	}
}

// votes counts the ok votes for a root.
func (t testimony) votes(root merkle.Digest) (k int) {
	for _, v := range t.voted {
		if v != nil && v.OK && v.Result == root {
			k++
		}
	}
	return k
}
