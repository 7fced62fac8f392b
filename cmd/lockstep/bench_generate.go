package main

import (
	"context"
	"fmt"
	"time"

	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/model"
)

// generateResult is the result of `lockstep bench generate`.
type generateResult struct {
	machineInfo
	Model                 string  `json:"model"`
	PromptTokens          int     `json:"prompt_tokens"`
	PromptTokensPerSecond float64 `json:"prompt_tokens_per_second"`
	NewTokens             int     `json:"new_tokens"`
	TokensPerSecond       float64 `json:"tokens_per_second"`
	// ReadBytesPerSecond is how fast the weights can be read from memory,
	// measured between the texts; BoundFraction is the time of reading each
	// weight once, as a part of the time of a token.
	ReadBytesPerSecond float64 `json:"read_bytes_per_second"`
	BoundFraction      float64 `json:"bound_fraction"`
	PeakRSSBytes       int64   `json:"peak_rss_bytes,omitempty"`
}

// benchGenerate continues a random prompt greedily, by 64 tokens if the model
// has room for them.
func benchGenerate(ctx context.Context, s benchSettings) (measurement, error) {
	p := s.config.Protocol
	m, err := loadModel(ctx, p.Model, p.Seed)
	if err != nil {
		return nil, err
	}
	c := m.weights.Config
	fresh := min(64, c.Positions/2)
	prompt := min(max(p.SeqLen, 1), c.Positions-fresh)
	if p.SeqLen == 0 {
		prompt = min(512, c.Positions-fresh)
	}
	if prompt < 1 || fresh < 1 {
		return nil, fault.Errorf(fault.Config, "bench generate: the model has %d positions; it needs 2", c.Positions)
	}
	r := generateResult{machineInfo: s.machine, Model: p.Model, PromptTokens: prompt, NewTokens: fresh}
	text := randomBatch(p.Seed, c.Vocab, 1, prompt).Inputs
	kept := m.net.NewContext(m.weights, prompt+fresh)
	read := m.weights.Data[:len(m.weights.Data)-c.Positions*c.Embd] // as many as a token reads
	var prompts, tokens, reads []time.Duration
	for run := range s.runs + 1 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.status("text %d of %d", run, s.runs)
		kept.Reset()
		var next int32
		var failure error
		extend := func(tokens []int32) {
			logits, err := kept.Extend(tokens)
			if err != nil {
				failure = err
				return
			}
			next = model.Likeliest(logits)
		}
		whole := timed(func() { extend(text) })
		decoding := timed(func() {
			for range fresh {
				if failure == nil {
					extend([]int32{next})
				}
			}
		})
		if failure != nil {
			return nil, failure
		}
		if run > 0 {
			prompts, tokens, reads = append(prompts, whole), append(tokens, decoding), append(reads, timed(func() { readAll(read) }))
		}
	}
	r.PromptTokensPerSecond = float64(prompt) / median(prompts)
	r.TokensPerSecond = float64(fresh) / median(tokens)
	r.ReadBytesPerSecond = 4 * float64(len(read)) / median(reads)
	r.BoundFraction = median(reads) * r.TokensPerSecond
	r.PeakRSSBytes = s.peakRSS()
	return r, nil
}

// readAll reads x once, with all threads.
func readAll(x []float32) {
	const part = 1 << 18
	f32.Parallel((len(x)+part-1)/part, func(i int) { f32.Finite(x[i*part : min((i+1)*part, len(x))]) })
}

func (r generateResult) table() [][]string {
	return [][]string{
		{"generate", ""},
		{"model", r.Model},
		{"prompt", fmt.Sprintf("%d tokens at %.0f tokens/s", r.PromptTokens, r.PromptTokensPerSecond)},
		{"continuation", fmt.Sprintf("%d tokens at %.1f tokens/s", r.NewTokens, r.TokensPerSecond)},
		{"reading memory", fmt.Sprintf("%.1f GB/s", r.ReadBytesPerSecond/1e9)},
		{"part of that bound", fmt.Sprintf("%.1f %%", 100*r.BoundFraction)},
		{"peak memory", memorySize(r.PeakRSSBytes)},
	}
}
