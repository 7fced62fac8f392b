package model

import (
	"math"
	"strings"
	"testing"

	"lockstep/internal/seed"
)

// TestN19_InitialWeights recomputes weights from the documented formula.
func TestN19_InitialWeights(t *testing.T) {
	c := small()
	p := Initialise(c, 38)
	index := 0
	for tensor, data := range p.Tensors() {
		s := seed.New(38, "model/init", uint64(index))
		index++
		for j, got := range data {
			var want float32
			switch {
			case strings.HasSuffix(tensor.Name, ".bias"):
				want = 0
			case strings.Contains(tensor.Name, ".ln_"):
				want = 1
			case strings.HasSuffix(tensor.Name, "c_proj.weight"):
				want = float32(drawn(s, uint64(j))) * float32(0.02/math.Sqrt(4)/1024)
			default:
				want = float32(drawn(s, uint64(j))) * float32(0.02/1024)
			}
			if got != want {
				t.Fatalf("%s[%d] = %v, want %v", tensor.Name, j, got, want)
			}
		}
	}
}

// drawn is S - 6*1023.
func drawn(s seed.Stream, j uint64) int {
	sum := -6 * 1023
	for _, v := range []uint64{s.At(2 * j), s.At(2*j + 1)} {
		for shift := 0; shift < 60; shift += 10 {
			sum += int(v >> shift % 1024)
		}
	}
	return sum
}

// TestInitialDistribution: mean, deviation, skewness, kurtosis and tails are
// those of twelve uniform numbers.
func TestInitialDistribution(t *testing.T) {
	x := make([]float32, 400000)
	fillNormal(x, 1, seed.New(1, "test"))
	var moments [5]float64
	beyond := [4]int{}
	for _, v := range x {
		power := 1.0
		for k := range moments {
			moments[k] += power / float64(len(x))
			power *= float64(v)
		}
		for k := range beyond {
			if math.Abs(float64(v)) > float64(k) {
				beyond[k]++
			}
		}
	}
	for k, want := range []float64{1, 0, 1, 0, 3 - 0.1} {
		if math.Abs(moments[k]-want) > 0.03 {
			t.Errorf("moment %d is %v, want %v", k, moments[k], want)
		}
	}
	for k, want := range []float64{1, 0.3173, 0.0455, 0.0027} {
		if share := float64(beyond[k]) / float64(len(x)); k > 0 && math.Abs(share-want) > 0.1*want+0.002 {
			t.Errorf("%v of the weights are beyond %d deviations, want %v", share, k, want)
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	first, again, other := Initialise(small(), 1).Root(), Initialise(small(), 1).Root(), Initialise(small(), 2).Root()
	if first != again {
		t.Error("one seed gives two sets of weights")
	}
	if first == other {
		t.Error("two seeds give the same weights")
	}
}
