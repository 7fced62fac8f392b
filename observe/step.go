package observe

import (
	"fmt"
	"strings"
	"time"
)

// Step is what one optimizer step shows.
type Step struct {
	Number, Total   int
	Loss            float64 // token mean, before the step
	Norm            float64 // of the averaged gradient
	LearningRate    float64
	TokensPerSecond float64
	ETA             time.Duration // negative: not known yet
	StateRoot       string        // short, or empty where it was not computed
}

// Line returns the step line, under 90 columns:
//
//	step 00042/01000 | loss 4.1372 | norm 1.03 | lr 3.0e-04 | 1,948 tok/s | eta 21m04s | 7d3f91aa
func (s Step) Line() string {
	width := max(2, len(fmt.Sprint(s.Total)))
	parts := []string{
		fmt.Sprintf("step %0*d/%0*d", width, s.Number, width, s.Total),
		fmt.Sprintf("loss %.4f", s.Loss),
		fmt.Sprintf("norm %.2f", s.Norm),
		fmt.Sprintf("lr %.1e", s.LearningRate),
		Count(int64(s.TokensPerSecond+0.5)) + " tok/s",
	}
	if s.Number < s.Total {
		parts = append(parts, "eta "+Duration(s.ETA))
	}
	if s.StateRoot != "" {
		parts = append(parts, s.StateRoot)
	}
	return strings.Join(parts, " | ")
}

// Meter estimates the time to the end from an exponential mean of step times.
// The first step, which also warms caches, counts only until there is a
// second. The zero Meter is ready to use.
type Meter struct {
	steps int
	mean  time.Duration
}

// Add records how long a step took.
func (m *Meter) Add(d time.Duration) {
	m.steps++
	if m.steps <= 2 {
		m.mean = d
		return
	}
	m.mean += (d - m.mean) / 8
}

// ETA returns the time that the remaining steps will take, or -1 before the
// first step is done.
func (m *Meter) ETA(remaining int) time.Duration {
	if m.steps == 0 {
		return -1
	}
	return m.mean * time.Duration(remaining)
}
