package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/seed"
)

// Assignment says which rows each miner owes in each epoch. All of it is in the
// run spec, so everybody computes the same.
type Assignment struct {
	Seed             uint64 // the run's
	Slots            uint32 // seats among which segments are dealt
	SegmentsPerMiner uint32 // K
	SegmentRows      uint32
	Rows             uint64 // of the source
}

// Segment is a stretch of rows that are assigned together.
type Segment struct {
	Number uint64 // in the order of dealing, from 0 at epoch 1
	Pass   uint64 // how often all segments were dealt before
	First  uint64 // row
	Rows   uint64
}

// maxRows is the most rows that a permutation can shuffle.
const maxRows = 1 << 62

// segments is the number N of segments of the source; the rows behind the last
// whole one are never used.
func (a Assignment) segments() uint64 { return a.Rows / uint64(a.SegmentRows) }

// perEpoch is the number of segments dealt in one epoch.
func (a Assignment) perEpoch() uint64 { return uint64(a.Slots) * uint64(a.SegmentsPerMiner) }

// Validate says whether the source has a segment of its own for every miner in
// one epoch. The error is fault.Config and names what would fit.
func (a Assignment) Validate() error {
	switch {
	case a.Slots == 0 || a.SegmentsPerMiner == 0 || a.SegmentRows == 0:
		return fault.Errorf(fault.Config, "assignment: %d slots, %d segments a miner, %d rows a segment; none may be 0", a.Slots, a.SegmentsPerMiner, a.SegmentRows)
	case a.Rows > maxRows:
		return fault.Errorf(fault.Config, "assignment: %d rows are more than 2^62", a.Rows)
	case a.Rows < a.perEpoch():
		return fault.Errorf(fault.Config, "the source has %d rows, fewer than the %d segments of one epoch (%d slots with %d segments each); use fewer miners, fewer --segments or more text",
			a.Rows, a.perEpoch(), a.Slots, a.SegmentsPerMiner)
	case a.segments() < a.perEpoch():
		return fault.Errorf(fault.Config, "the source has %d segments of %d rows, an epoch needs %d (%d slots with %d segments each); use --segment-rows %d or less",
			a.segments(), a.SegmentRows, a.perEpoch(), a.Slots, a.SegmentsPerMiner, a.Rows/a.perEpoch())
	}
	return nil
}

// Segments returns the K segments of uid in epoch, which counts from 1. Segment
// k has the number a = ((epoch-1) * slots + uid) * K + k; the rows are those of
// segment permutation(seed, a div N) at a mod N. So the segments of all miners
// and epochs are disjoint until the source is used up, and then again.
func (a Assignment) Segments(epoch uint64, uid uint32) ([]Segment, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	if epoch == 0 || uid >= a.Slots {
		return nil, fault.Errorf(fault.Config, "assignment: epoch %d and uid %d; epochs begin at 1, uids end at %d", epoch, uid, a.Slots-1)
	}
	k := uint64(a.SegmentsPerMiner)
	over, before := bits.Mul64(epoch-1, a.perEpoch())
	number, carry := bits.Add64(before, uint64(uid)*k, 0)
	if over != 0 || carry != 0 || number > ^uint64(0)-k {
		return nil, fault.Errorf(fault.Config, "assignment: epoch %d is too large", epoch)
	}
	n := a.segments()
	dealt := make([]Segment, 0, k)
	for ; uint64(len(dealt)) < k; number++ {
		pass := number / n
		index := seed.NewPermutation(n, seed.New(a.Seed, "segments", pass)).At(number % n)
		dealt = append(dealt, Segment{
			Number: number, Pass: pass,
			First: index * uint64(a.SegmentRows), Rows: uint64(a.SegmentRows),
		})
	}
	return dealt, nil
}

// SegmentsDigest is step 1 of the chain: SHA-256("lockstep/segments/1" ‖
// u32 count ‖ for each u64 first row, u64 rows).
func SegmentsDigest(segments []Segment) merkle.Digest {
	buf := []byte("lockstep/segments/1")
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(segments)))
	for _, s := range segments {
		buf = binary.LittleEndian.AppendUint64(buf, s.First)
		buf = binary.LittleEndian.AppendUint64(buf, s.Rows)
	}
	return sha256.Sum256(buf)
}
