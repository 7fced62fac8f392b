package validate

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"lockstep/internal/signed"
)

// exact is an honest measure.
func exact(uid uint32, tokens, bytes, nanos uint64) Measure {
	return Measure{UID: uid, Peer: signed.PeerID{byte(uid) + 1}, Exact: true, Tokens: tokens, Bytes: bytes, Nanos: nanos}
}

func scoreEpoch(t *testing.T, measures []Measure, previous []Score) []Score {
	t.Helper()
	scores, err := ScoreEpoch(measures, previous)
	if err != nil {
		t.Fatal(err)
	}
	return scores
}

func TestScoreOfOneEpoch(t *testing.T) {
	cheat := exact(3, 4096, 4<<20, 1e6)
	cheat.Exact, cheat.False = false, true
	scores := scoreEpoch(t, []Measure{
		exact(1, 512, 4<<20, 30e6), // half the tokens, a third of the speed
		cheat,                      // fastest and longest, and false
		exact(0, 1024, 4<<20, 10e6),
		{UID: 2}, // absent
	}, nil)
	want := []Score{
		{UID: 0, Peer: signed.PeerID{1}, Bandwidth: Million, Gradient: Million, Steps: Million, Epoch: Million, Average: 100_000, Weight: 65535},
		{UID: 1, Peer: signed.PeerID{2}, Bandwidth: 333_333, Gradient: Million, Steps: 500_000, Epoch: 166_666, Average: 16_666, Weight: 10922},
		{UID: 2},
		{UID: 3, Peer: signed.PeerID{4}, Bandwidth: Million, Steps: Million},
	}
	if !slices.Equal(scores, want) {
		t.Errorf("got  %+v\nwant %+v", scores, want)
	}
}

func TestAverageFollowsTheMiner(t *testing.T) {
	var scores []Score
	for range 200 {
		scores = scoreEpoch(t, []Measure{exact(0, 1, 1, 1)}, scores)
	}
	// ⌊⌋ stops the climb where a tenth of what is missing is below 1.
	if got := scores[0].Average; got != Million-9 {
		t.Errorf("average after 200 whole epochs = %d", got)
	}

	t.Run("proven false", func(t *testing.T) {
		m := exact(0, 1, 1, 1)
		m.False = true
		after := scoreEpoch(t, []Measure{m}, scores)
		if after[0].Average != 0 || after[0].Epoch != 0 || after[0].Weight != 0 {
			t.Errorf("a miner proven false keeps %+v", after[0])
		}
	})
	t.Run("absent", func(t *testing.T) {
		after := slices.Clone(scores)
		previous := uint32(math.MaxUint32)
		for range 200 {
			m := Measure{UID: 0, Peer: signed.PeerID{1}}
			after = scoreEpoch(t, []Measure{m}, after)
			if after[0].Average >= previous && previous > 0 {
				t.Fatalf("average of an absent miner stands still at %d", previous)
			}
			previous = after[0].Average
		}
		if previous != 0 {
			t.Errorf("an absent miner keeps %d", previous)
		}
	})
	t.Run("other key on the seat", func(t *testing.T) {
		m := exact(0, 1, 1, 1)
		m.Peer = signed.PeerID{9}
		if after := scoreEpoch(t, []Measure{m}, scores); after[0].Average != 100_000 {
			t.Errorf("a new key on the seat starts with %d", after[0].Average)
		}
	})
}

func TestCheaterInEveryEpochHasNothing(t *testing.T) {
	var scores []Score
	for epoch := range 20 {
		cheat := exact(1, 1<<40, 1<<40, 1)
		cheat.False = true
		scores = scoreEpoch(t, []Measure{exact(0, 10, 10, 10), cheat}, scores)
		if s := scores[1]; s.Epoch != 0 || s.Average != 0 || s.Weight != 0 {
			t.Fatalf("epoch %d: %+v", epoch, s)
		}
	}
}

func TestNoWeights(t *testing.T) {
	uids := func(measures ...Measure) []uint32 {
		return WeightsOf(1, scoreEpoch(t, measures, nil), nil).UIDs
	}
	if got := uids(Measure{UID: 0}, Measure{UID: 1}); len(got) != 0 {
		t.Errorf("weights out of nothing: %v", got)
	}
	if got := uids(); len(got) != 0 {
		t.Errorf("without miners %v have a weight", got)
	}
	if got := uids(exact(0, 1, 1, 1)); len(got) != 1 {
		t.Errorf("an honest miner alone: %v have a weight", got)
	}
}

func TestScoreRefusesTwoOfOneSeat(t *testing.T) {
	if _, err := ScoreEpoch([]Measure{exact(4, 1, 1, 1), exact(4, 2, 2, 2)}, nil); err == nil {
		t.Error("one uid measured twice was scored")
	}
}

// TestScoreProperties compares with big rationals, for measures of any size
// and in any order.
func TestScoreProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "n")
		measures := make([]Measure, n)
		for i := range measures {
			measures[i] = exact(uint32(i),
				rapid.Uint64().Draw(t, "tokens"), rapid.Uint64().Draw(t, "bytes"), rapid.Uint64Min(1).Draw(t, "nanos"))
		}
		scores, err := ScoreEpoch(rapid.Permutation(measures).Draw(t, "order"), nil)
		if err != nil {
			t.Fatal(err)
		}
		best, most := new(big.Rat), new(big.Rat)
		rate := func(m Measure) *big.Rat {
			return new(big.Rat).SetFrac(new(big.Int).SetUint64(m.Bytes), new(big.Int).SetUint64(m.Nanos))
		}
		tokens := func(m Measure) *big.Rat { return new(big.Rat).SetInt(new(big.Int).SetUint64(m.Tokens)) }
		for _, m := range measures {
			best, most = larger(best, rate(m)), larger(most, tokens(m))
		}
		for i, s := range scores {
			m := measures[i]
			if want := millionths(rate(m), best); s.Bandwidth != want {
				t.Fatalf("bandwidth of %+v = %d, want %d", m, s.Bandwidth, want)
			}
			if want := millionths(tokens(m), most); s.Steps != want {
				t.Fatalf("steps of %+v = %d, want %d", m, s.Steps, want)
			}
		}
	})
}

func larger(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) < 0 {
		return b
	}
	return a
}

func millionths(x, best *big.Rat) uint32 {
	if best.Sign() == 0 {
		return 0
	}
	q := new(big.Rat).Quo(x, best)
	q.Mul(q, big.NewRat(Million, 1))
	return uint32(new(big.Int).Quo(q.Num(), q.Denom()).Uint64())
}

func TestHalfEven(t *testing.T) {
	for _, tt := range []struct{ a, b, want uint64 }{
		{0, 7, 0}, {1, 2, 0}, {3, 2, 2}, {5, 2, 2}, {7, 2, 4}, {2, 3, 1}, {1, 3, 0}, {65535 * 6, 4, 98302}, {65535 * 2, 2, 65535},
	} {
		if got := halfEven(tt.a, tt.b); got != tt.want {
			t.Errorf("%d/%d = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// TestWeightsSurviveRescaling: an SDK divides by the maximum and multiplies by
// 65535 again, in floats; our integers must pass unchanged.
func TestWeightsSurviveRescaling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := make([]Score, rapid.IntRange(1, 20).Draw(t, "n"))
		for i := range scores {
			scores[i].Average = rapid.Uint32Range(0, Million).Draw(t, "average")
		}
		scores[0].Average = max(scores[0].Average, 1)
		setWeights(scores)
		var top uint16
		for _, s := range scores {
			top = max(top, s.Weight)
			if again := math.RoundToEven(float64(float32(s.Weight)/MaxWeight) * MaxWeight); again != float64(s.Weight) {
				t.Fatalf("%d becomes %v", s.Weight, again)
			}
			if (s.Average == 0) && s.Weight != 0 {
				t.Fatalf("nothing weighs %d", s.Weight)
			}
		}
		if top != MaxWeight {
			t.Fatalf("largest weight is %d", top)
		}
	})
}
