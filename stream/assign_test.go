package stream

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"lockstep/internal/fault"
	"lockstep/internal/seed"
)

// TestSegmentsAreDisjointWithinAPass deals a whole pass and a part of the next,
// by all miners of all epochs, and marks every row.
func TestSegmentsAreDisjointWithinAPass(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := Assignment{
			Seed:             rapid.Uint64().Draw(rt, "seed"),
			Slots:            rapid.Uint32Range(1, 7).Draw(rt, "slots"),
			SegmentsPerMiner: rapid.Uint32Range(1, 4).Draw(rt, "k"),
			SegmentRows:      rapid.Uint32Range(1, 9).Draw(rt, "rows"),
		}
		a.Rows = uint64(a.SegmentRows)*a.perEpoch()*rapid.Uint64Range(1, 5).Draw(rt, "epochs") + rapid.Uint64Range(0, 60).Draw(rt, "more")
		n := a.segments()
		used := map[[2]uint64]string{} // pass and row: by whom
		number := uint64(0)
		for epoch := uint64(1); number < n+n/2; epoch++ {
			for uid := range a.Slots {
				segments, err := a.Segments(epoch, uid)
				if err != nil || len(segments) != int(a.SegmentsPerMiner) {
					rt.Fatalf("epoch %d, uid %d: %v, %v", epoch, uid, segments, err)
				}
				for k, s := range segments {
					who := fmt.Sprintf("epoch %d uid %d k %d", epoch, uid, k)
					if s.Number != number || s.Pass != number/n || s.Rows != uint64(a.SegmentRows) || s.First+s.Rows > a.Rows {
						rt.Fatalf("%s: %+v, number %d of %d", who, s, number, n)
					}
					number++
					for row := s.First; row < s.First+s.Rows; row++ {
						if before, twice := used[[2]uint64{s.Pass, row}]; twice {
							rt.Fatalf("row %d of pass %d belongs to %s and to %s", row, s.Pass, before, who)
						}
						used[[2]uint64{s.Pass, row}] = who
					}
				}
			}
		}
		for row := range n * uint64(a.SegmentRows) {
			if _, ok := used[[2]uint64{0, row}]; !ok {
				rt.Fatalf("row %d was not used in the first pass", row)
			}
		}
	})
}

// TestSegmentsFollowTheFormula writes the design's formula down once more.
func TestSegmentsFollowTheFormula(t *testing.T) {
	a := Assignment{Seed: 38, Slots: 3, SegmentsPerMiner: 2, SegmentRows: 100, Rows: 1050}
	for epoch := uint64(1); epoch < 30; epoch++ {
		for uid := range uint64(3) {
			segments, err := a.Segments(epoch, uint32(uid))
			if err != nil {
				t.Fatal(err)
			}
			for k := range uint64(2) {
				number := ((epoch-1)*3+uid)*2 + k
				index := seed.NewPermutation(10, seed.New(38, "segments", number/10)).At(number % 10)
				want := Segment{Number: number, Pass: number / 10, First: index * 100, Rows: 100}
				if segments[k] != want {
					t.Errorf("epoch %d uid %d k %d: %+v, want %+v", epoch, uid, k, segments[k], want)
				}
			}
		}
	}
}

func TestAssignmentRefusals(t *testing.T) {
	good := Assignment{Seed: 1, Slots: 3, SegmentsPerMiner: 2, SegmentRows: 100, Rows: 600}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, a := range map[string]Assignment{
		"--segment-rows 99":  {Slots: 3, SegmentsPerMiner: 2, SegmentRows: 100, Rows: 599},
		"--segment-rows 1 ":  {Slots: 3, SegmentsPerMiner: 2, SegmentRows: 100, Rows: 6},
		"use fewer miners":   {Slots: 3, SegmentsPerMiner: 2, SegmentRows: 100, Rows: 5},
		"none may be 0":      {Slots: 0, SegmentsPerMiner: 2, SegmentRows: 100, Rows: 599},
		"more than 2^62":     {Slots: 1, SegmentsPerMiner: 1, SegmentRows: 1, Rows: 1<<62 + 1},
		"fewer than the 6 s": {Slots: 3, SegmentsPerMiner: 2, SegmentRows: 1},
	} {
		err := a.Validate()
		if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
		if _, err := a.Segments(1, 0); err == nil {
			t.Errorf("%+v: segments without an error", a)
		}
	}
	// What the message proposes must fit.
	fitting := Assignment{Slots: 3, SegmentsPerMiner: 2, SegmentRows: 99, Rows: 599}
	if err := fitting.Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		epoch uint64
		uid   uint32
	}{{0, 0}, {1, 3}, {^uint64(0), 2}, {1 << 62, 2}} {
		if _, err := good.Segments(c.epoch, c.uid); fault.KindOf(err) != fault.Config {
			t.Errorf("epoch %d, uid %d: %v", c.epoch, c.uid, err)
		}
	}
}

func TestSegmentsDigestSeesEveryField(t *testing.T) {
	base := []Segment{{Number: 1, First: 100, Rows: 10}, {Number: 2, First: 0, Rows: 10}}
	want := SegmentsDigest(base)
	for _, other := range [][]Segment{
		base[:1], {base[1], base[0]}, {{First: 101, Rows: 10}, base[1]}, {{First: 100, Rows: 11}, base[1]}, nil,
	} {
		if SegmentsDigest(other) == want {
			t.Errorf("%+v has the same digest", other)
		}
	}
}
