package validate

import (
	"math/bits"
	"slices"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

// Million is a whole score. Scores are integers in millionths up to the last
// step, so that two validators with the same measures print the same bytes.
const Million = 1_000_000

// Measure is what one epoch showed of one registered miner. A miner that did
// nothing has a Measure of zeros.
type Measure struct {
	UID    uint32        `json:"uid"`
	Peer   signed.PeerID `json:"peer_id"`
	Exact  bool          `json:"exact"`  // its claim was recomputed, bit for bit
	False  bool          `json:"false"`  // it was proven to have signed something false
	Tokens uint64        `json:"tokens"` // recomputed and averaged, by others' word
	Bytes  uint64        `json:"bytes"`  // of state chunks that passed verification
	Nanos  uint64        `json:"nanos"`  // from the request to the last byte; the whole limit unless all chunks passed in time
}

// honest reports whether the epoch may count for the miner at all.
func (m *Measure) honest() bool { return m.Exact && !m.False }

// Score is a miner's mark for one epoch, in millionths, and where it leaves the
// miner. Average and Peer are all that the next epoch needs of it.
type Score struct {
	UID       uint32        `json:"uid"`
	Peer      signed.PeerID `json:"peer_id"`
	Bandwidth uint32        `json:"bandwidth"` // relative to the best of the epoch
	Gradient  uint32        `json:"gradient"`  // Million or 0
	Steps     uint32        `json:"steps"`     // relative to the most tokens of the epoch
	Epoch     uint32        `json:"score"`     // product of the three
	Average   uint32        `json:"average"`   // moving average of the product
	Weight    uint16        `json:"weight"`    // Average as a u16, the largest being 65535
}

// ScoreEpoch marks an epoch from its measures and the scores that the epoch
// before ended with (none before the first one). The result is ascending by
// uid and has one entry per measure; a miner that is no longer measured is
// forgotten. With ⌊⌋ the integer quotient:
//
//	bandwidth = ⌊10⁶ · rate / best rate⌋       rate = bytes/nanos, exact
//	gradient  = 10⁶ if exact and not proven false, else 0
//	steps     = ⌊10⁶ · tokens / most tokens⌋
//	score     = ⌊bandwidth · gradient · steps / 10¹²⌋
//	average   = ⌊(9 · average + score) / 10⌋
//
// Best rate and most tokens are taken over honest miners only, so that nobody
// who is proven false moves the marks of others; marks end at 10⁶.
//
// The average starts at 0, also when another key takes the seat: a new identity
// is worth what it has shown, so that shedding a bad one gains nothing. For the
// same reason a miner proven false is put back to 0, whatever it had. Rounding
// down lets the average of a miner that does nothing reach 0.
func ScoreEpoch(measures []Measure, previous []Score) ([]Score, error) {
	measures = slices.Clone(measures)
	slices.SortFunc(measures, func(a, b Measure) int { return int(int64(a.UID) - int64(b.UID)) })
	for i := 1; i < len(measures); i++ {
		if measures[i].UID == measures[i-1].UID {
			return nil, fault.Errorf(fault.Unexpected, "scores: uid %d is measured twice in one epoch", measures[i].UID)
		}
	}
	best, most := best(measures)
	scores := make([]Score, len(measures))
	for i, m := range measures {
		scores[i] = mark(m, best, most)
		if !m.False {
			scores[i].Average = uint32((9*uint64(averageOf(previous, m)) + uint64(scores[i].Epoch)) / 10)
		}
	}
	setWeights(scores)
	return scores, nil
}

// best returns the fastest honest miner and the most tokens of one.
func best(measures []Measure) (fastest Measure, most uint64) {
	for _, m := range measures {
		if !m.honest() {
			continue
		}
		if compareRates(m, fastest) > 0 {
			fastest = m
		}
		most = max(most, m.Tokens)
	}
	return fastest, most
}

// compareRates compares a.Bytes/a.Nanos with b.Bytes/b.Nanos exactly.
func compareRates(a, b Measure) int {
	ah, al := bits.Mul64(a.Bytes, max(b.Nanos, 1))
	bh, bl := bits.Mul64(b.Bytes, max(a.Nanos, 1))
	switch {
	case ah != bh:
		return sign(ah > bh)
	case al != bl:
		return sign(al > bl)
	}
	return 0
}

func sign(positive bool) int {
	if positive {
		return 1
	}
	return -1
}

// mark computes the three scores of an epoch and their product.
func mark(m, fastest Measure, most uint64) Score {
	s := Score{UID: m.UID, Peer: m.Peer}
	if fastest.Bytes > 0 {
		s.Bandwidth = ratio(
			[]uint64{m.Bytes, max(fastest.Nanos, 1)},
			[]uint64{fastest.Bytes, max(m.Nanos, 1)},
		)
	}
	if m.honest() {
		s.Gradient = Million
	}
	if most > 0 {
		s.Steps = ratio([]uint64{m.Tokens}, []uint64{most})
	}
	// Gradient is 0 or 10⁶, so the product of three over 10¹² is this one.
	if s.Gradient == Million {
		s.Epoch = uint32(uint64(s.Bandwidth) * uint64(s.Steps) / Million)
	}
	return s
}

// averageOf returns the average that m's miner brings along.
func averageOf(previous []Score, m Measure) uint32 {
	for _, p := range previous {
		if p.UID == m.UID && p.Peer == m.Peer {
			return p.Average
		}
	}
	return 0
}
