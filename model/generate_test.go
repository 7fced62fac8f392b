package model

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/internal/seed"
)

// TestLogits compares with the oracle's way to the same numbers: the loss of a
// position is log Σ exp(logits) - logits[target].
func TestLogits(t *testing.T) {
	c := small()
	m, p := newModel(t, c), hashedParameters(c)
	batch := syntheticBatch(c, 1, 7, 0)
	logits, err := m.Logits(p, batch.Inputs, 5)
	if err != nil || len(logits) != 2*c.Vocab {
		t.Fatalf("%d logits, %v", len(logits), err)
	}
	logits = slices.Clone(logits)
	for i := range 5 {
		batch.Targets[i] = -1
	}
	tally, err := m.Loss(p, batch)
	if err != nil {
		t.Fatal(err)
	}
	want := 0.0
	for i := range 2 {
		z := 0.0
		row := logits[i*c.Vocab:][:c.Vocab]
		for _, l := range row {
			z += math.Exp(float64(l))
		}
		want += math.Log(z) - float64(row[batch.Targets[5+i]])
	}
	near(t, "loss", tally.Loss, want, 8)
}

// TestGreedy continues a text as one would by hand, also past the last
// position, where the context slides.
func TestGreedy(t *testing.T) {
	c := small()
	m, p := newModel(t, c), hashedParameters(c)
	text := []int32{1, 2, 3}
	got, err := m.Generate(p, text, GenerateOptions{MaxTokens: 15, EndOfText: -1})
	if err != nil {
		t.Fatal(err)
	}
	for range 15 {
		context := text[max(0, len(text)-c.Positions):]
		logits, err := m.Logits(p, context, len(context)-1)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, Likeliest(logits))
	}
	if !slices.Equal(got, text[3:]) {
		t.Errorf("%v, want %v", got, text[3:])
	}
}

func TestGenerateStops(t *testing.T) {
	c := small()
	m, p := newModel(t, c), hashedParameters(c)
	all, err := m.Generate(p, []int32{1}, GenerateOptions{MaxTokens: 5, EndOfText: -1})
	if err != nil || len(all) != 5 {
		t.Fatalf("%v, %v", all, err)
	}
	stop := all[3]
	var each []int32
	got, err := m.Generate(p, []int32{1}, GenerateOptions{MaxTokens: 5, EndOfText: stop, Each: func(token int32) { each = append(each, token) }})
	want := all[:slices.Index(all, stop)]
	if err != nil || !slices.Equal(got, want) || !slices.Equal(each, want) {
		t.Errorf("%v, %v, %v; want %v", got, each, err, want)
	}
	if got, err := m.Generate(p, []int32{1}, GenerateOptions{}); err != nil || len(got) != 0 {
		t.Errorf("no tokens wanted: %v, %v", got, err)
	}
}

// TestSamplingIsReproducible: one seed, one text, on every instruction set.
func TestSamplingIsReproducible(t *testing.T) {
	c := small()
	p := Initialise(c, 1)
	o := GenerateOptions{MaxTokens: 20, Temperature: 0.8, TopK: 30, TopP: 0.95, Seed: 7, EndOfText: -1}
	want, err := newModel(t, c).Generate(p, []int32{1}, o)
	if err != nil {
		t.Fatal(err)
	}
	eachISA(t, func(t *testing.T) {
		if got, err := newModel(t, c).Generate(p, []int32{1}, o); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	})
	o.Seed = 8
	if got, _ := newModel(t, c).Generate(p, []int32{1}, o); slices.Equal(got, want) {
		t.Error("another seed gives the same text")
	}
}

// TestSampleDistribution draws often and counts.
func TestSampleDistribution(t *testing.T) {
	logits := []float32{1, 3, -2, 3, 0}
	z := 0.0
	for _, l := range logits {
		z += math.Exp(float64(l) / 2)
	}
	s := newSampler(GenerateOptions{Temperature: 2, Seed: 3}, len(logits))
	const draws = 100000
	count := make([]int, len(logits))
	for range draws {
		count[s.next(logits)]++
	}
	for i, n := range count {
		want := math.Exp(float64(logits[i])/2) / z * draws
		if math.Abs(float64(n)-want) > 5*math.Sqrt(want) {
			t.Errorf("token %d drawn %d times, want %.0f", i, n, want)
		}
	}
}

// TestSampleByHand recomputes one draw from the documented integers.
func TestSampleByHand(t *testing.T) {
	logits := []float32{0.5, 2, 2, -1, 1.5}
	o := GenerateOptions{Temperature: 0.5, TopK: 4, Seed: 9}
	s := newSampler(o, len(logits))
	order := []int32{1, 2, 4, 0} // likeliest first, the lower of equals first
	var weights []uint64
	sum := uint64(0)
	for _, token := range order {
		w := uint64(math.Floor(float64(f32.Exp((logits[token]-2)*2)) * (1 << 32)))
		weights = append(weights, w)
		sum += w
	}
	stream := seed.New(9, "model/generate")
	for draw := range uint64(50) {
		r, _ := bits.Mul64(stream.At(draw), sum)
		want := int32(-1)
		for i, w := range weights {
			if r < w {
				want = order[i]
				break
			}
			r -= w
		}
		if got := s.next(logits); got != want {
			t.Fatalf("draw %d: token %d, want %d", draw, got, want)
		}
	}
}

// TestRanks puts many tokens in order, with equal logits among them.
func TestRanks(t *testing.T) {
	logits := make([]float32, 1000)
	var want []int32
	for i := range logits {
		logits[i] = float32(hash32(uint32(i))%300) / 10
		want = append(want, int32(i))
	}
	slices.SortStableFunc(want, func(a, b int32) int { return cmp.Compare(logits[b], logits[a]) })
	s := newSampler(GenerateOptions{Temperature: 1}, len(logits))
	for range 2 {
		s.weigh(logits)
		for i, token := range want {
			if got := s.ranked(i); got != token {
				t.Fatalf("rank %d is token %d, want %d", i, got, token)
			}
		}
	}
}

func TestTopP(t *testing.T) {
	logits := []float32{0, 4, 2, 3, 1} // probabilities 0.012, 0.636, 0.086, 0.234, 0.032
	for _, tt := range []struct {
		p    float64
		want []int32
	}{{0.5, []int32{1}}, {0.7, []int32{1, 3}}, {0.9, []int32{1, 3, 2}}, {1, []int32{1, 3, 2, 4, 0}}, {1e-12, []int32{1}}} {
		s := newSampler(GenerateOptions{Temperature: 1, TopP: tt.p}, len(logits))
		var got []int32
		s.weigh(logits)
		for rest := s.kept(); rest > 0; {
			got = append(got, s.ranked(len(got)))
			rest -= s.weights[got[len(got)-1]]
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("top-p %v keeps %v, want %v", tt.p, got, tt.want)
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	c := small()
	m, p := newModel(t, c), hashedParameters(c)
	nan := math.NaN()
	tests := []struct {
		o    GenerateOptions
		says string
	}{
		{GenerateOptions{MaxTokens: -1}, "-1 new tokens"},
		{GenerateOptions{Temperature: -1}, "temperature"},
		{GenerateOptions{Temperature: 0.001}, "temperature"},
		{GenerateOptions{Temperature: nan}, "temperature"},
		{GenerateOptions{Temperature: 1, TopK: -1}, "top-k"},
		{GenerateOptions{Temperature: 1, TopP: 1.1}, "top-p"},
		{GenerateOptions{Temperature: 1, TopP: nan}, "top-p"},
		{GenerateOptions{TopK: 5}, "temperature above 0"},
	}
	for _, tt := range tests {
		if _, err := m.Generate(p, []int32{1}, tt.o); fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v", tt.o, err)
		}
	}
	if _, err := m.Generate(p, nil, GenerateOptions{MaxTokens: 1}); fault.KindOf(err) != fault.Config {
		t.Errorf("empty prompt: %v", err)
	}
	if _, err := m.Generate(p, []int32{40}, GenerateOptions{MaxTokens: 1}); fault.KindOf(err) != fault.Damaged {
		t.Errorf("token outside the vocabulary: %v", err)
	}
}
