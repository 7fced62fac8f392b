// Package spec is the run spec: all that peers must agree on before they can
// average gradients. Its digest, the fingerprint, is compared when peers meet.
// What does not change a bit of the result (threads, micro-batch, deadlines,
// addresses, folders) is not in it.
package spec

import (
	"crypto/sha256"
	"fmt"
	"math"
	"sort"
	"strings"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

// Format is the version of this document.
const Format = "lockstep-run-1"

// Run is the run spec. Its zero value is not valid. JSON names double as the
// names in messages.
type Run struct {
	Format     string     `cbor:"1,keyasint" json:"format"`
	Contract   string     `cbor:"2,keyasint" json:"contract"` // arithmetic contract, merkle.Contract
	Model      Model      `cbor:"3,keyasint" json:"model"`
	Init       Init       `cbor:"4,keyasint" json:"init"`
	Tokenizer  Tokenizer  `cbor:"5,keyasint" json:"tokenizer"`
	Data       Data       `cbor:"6,keyasint" json:"data"`
	Assignment Assignment `cbor:"7,keyasint" json:"assignment"`
	Optimizer  Optimizer  `cbor:"8,keyasint" json:"optimizer"`
	Codec      string     `cbor:"9,keyasint" json:"codec"` // of gradients on the wire: "f32"
}

// Model is the architecture, in the terms of Hugging Face's config.json.
type Model struct {
	Name             string  `cbor:"1,keyasint" json:"name"`
	Layers           uint32  `cbor:"2,keyasint" json:"n_layer"`
	Heads            uint32  `cbor:"3,keyasint" json:"n_head"`
	Embd             uint32  `cbor:"4,keyasint" json:"n_embd"`
	Inner            uint32  `cbor:"5,keyasint" json:"n_inner"`
	Positions        uint32  `cbor:"6,keyasint" json:"n_positions"`
	Vocab            uint32  `cbor:"7,keyasint" json:"vocab_size"`
	LayerNormEpsilon float64 `cbor:"8,keyasint" json:"layer_norm_epsilon"`
	Activation       string  `cbor:"9,keyasint" json:"activation_function"`
}

// Init says where the weights of epoch 0 come from: the run's seed, or given
// weights named by the Merkle root of their parameters. Where those came from a
// Hub, the spec says so, for the card of every epoch must name it in the same
// words, whoever writes it; the field is left out of the document otherwise.
type Init struct {
	Kind       string        `cbor:"1,keyasint" json:"kind"` // "seed" or "weights"
	Parameters merkle.Digest `cbor:"2,keyasint" json:"parameters"`
	BaseModel  string        `cbor:"3,keyasint,omitempty" json:"base_model,omitempty"` // "OWNER/NAME@COMMIT"
}

// Tokenizer names the tokens. The digest covers ranks, pattern and the version
// of the Unicode tables.
type Tokenizer struct {
	Name   string        `cbor:"1,keyasint" json:"name"`
	Digest merkle.Digest `cbor:"2,keyasint" json:"digest"`
}

// Data names the rows: the source's kind, what it holds, and how much.
type Data struct {
	Source   string        `cbor:"1,keyasint" json:"source"`
	Identity merkle.Digest `cbor:"2,keyasint" json:"identity"`
	Rows     uint64        `cbor:"3,keyasint" json:"rows"`
}

// Assignment says who trains on what. Seed is the run's seed; it also gives
// the initial weights.
type Assignment struct {
	Seed             uint64  `cbor:"1,keyasint" json:"seed"`
	Slots            uint32  `cbor:"2,keyasint" json:"slots"`              // seats among which segments are dealt
	SegmentsPerMiner uint32  `cbor:"3,keyasint" json:"segments_per_miner"` // K
	SegmentRows      uint32  `cbor:"4,keyasint" json:"segment_rows"`
	SeqLen           uint32  `cbor:"5,keyasint" json:"seq_len"`
	Sequences        uint32  `cbor:"6,keyasint" json:"sequences"`   // quota of a miner per epoch
	Quotas           []Quota `cbor:"7,keyasint" json:"quotas"`      // exceptions, ascending by uid
	ClaimEvery       uint32  `cbor:"8,keyasint" json:"claim_every"` // sequences per root; 0: the whole claim, the only choice so far
}

// Quota is one miner's own number of sequences per epoch.
type Quota struct {
	UID       uint32 `cbor:"1,keyasint" json:"uid"`
	Sequences uint32 `cbor:"2,keyasint" json:"sequences"`
}

// Optimizer is AdamW with clipping and a schedule of the learning rate.
type Optimizer struct {
	LearningRate float64 `cbor:"1,keyasint" json:"learning_rate"`
	MinRate      float64 `cbor:"2,keyasint" json:"min_rate"`
	WarmupSteps  uint64  `cbor:"3,keyasint" json:"warmup_steps"`
	DecaySteps   uint64  `cbor:"4,keyasint" json:"decay_steps"` // 0: constant after warm-up
	Beta1        float64 `cbor:"5,keyasint" json:"beta1"`
	Beta2        float64 `cbor:"6,keyasint" json:"beta2"`
	Epsilon      float64 `cbor:"7,keyasint" json:"epsilon"`
	WeightDecay  float64 `cbor:"8,keyasint" json:"weight_decay"`
	ClipNorm     float64 `cbor:"9,keyasint" json:"clip_norm"`
}

// Limits of what a run may ask for.
const (
	MaxSlots     = 256
	MaxSegments  = 1024
	MaxRows      = 1 << 20 // rows of a segment
	MaxSequences = 1 << 20
)

// QuotaOf returns how many sequences uid owes per epoch.
func (r *Run) QuotaOf(uid uint32) uint32 {
	for _, q := range r.Assignment.Quotas {
		if q.UID == uid {
			return q.Sequences
		}
	}
	return r.Assignment.Sequences
}

// Fingerprint is SHA-256("lockstep/run/1" ‖ canonical CBOR of r).
func (r *Run) Fingerprint() merkle.Digest {
	b, err := signed.Marshal(r)
	if err != nil {
		panic("spec: " + err.Error()) // plain structs always encode
	}
	return sha256.Sum256(append([]byte("lockstep/run/1"), b...))
}

// Validate checks every field on its own and against the others. The error is
// fault.Config and names the first field that is wrong.
func (r *Run) Validate() error {
	a, m, o := &r.Assignment, &r.Model, &r.Optimizer
	checks := []struct {
		ok    bool
		field string
		want  string
	}{
		{r.Format == Format, "format", "must be " + Format},
		{r.Contract == merkle.Contract, "contract", "must be " + merkle.Contract},
		{r.Codec == "f32", "codec", "must be f32"},
		{r.Init.Kind == "seed" || r.Init.Kind == "weights", "init.kind", "must be seed or weights"},
		{(r.Init.Kind == "weights") == !r.Init.Parameters.IsZero(), "init.parameters", "belongs to init.kind weights, and only there"},
		{r.Init.BaseModel == "" || r.Init.Kind == "weights" && isPinned(r.Init.BaseModel), "init.base_model", "must be a Hub id with a commit, OWNER/NAME@COMMIT, and belongs to init.kind weights"},
		{len(m.Name) <= 128, "model.name", "is longer than 128 bytes"},
		{m.Layers > 0 && m.Heads > 0 && m.Embd > 0 && m.Inner > 0 && m.Positions > 0 && m.Vocab > 0, "model", "has a size of zero"},
		{len(r.Tokenizer.Name) <= 128 && len(r.Data.Source) <= 128, "tokenizer.name, data.source", "is longer than 128 bytes"},
		{a.Slots > 0 && a.Slots <= MaxSlots, "assignment.slots", fmt.Sprintf("must be 1 to %d", MaxSlots)},
		{a.SegmentsPerMiner > 0 && a.SegmentsPerMiner <= MaxSegments, "assignment.segments_per_miner", fmt.Sprintf("must be 1 to %d", MaxSegments)},
		{a.SegmentRows > 0 && a.SegmentRows <= MaxRows, "assignment.segment_rows", fmt.Sprintf("must be 1 to %d", MaxRows)},
		{a.SeqLen > 0 && a.SeqLen <= m.Positions && a.SeqLen <= 1024, "assignment.seq_len", fmt.Sprintf("is %d; it must be 1 to %d, the model's n_positions, and at most 1024", a.SeqLen, m.Positions)},
		{a.Sequences > 0 && a.Sequences <= MaxSequences, "assignment.sequences", fmt.Sprintf("must be 1 to %d", MaxSequences)},
		{a.ClaimEvery == 0, "assignment.claim_every", "must be 0: one root over the whole claim"},
		{quotasFit(a), "assignment.quotas", "must be ascending by uid, below slots, 1 to the largest quota"},
		{positive(o.LearningRate) && o.MinRate >= 0 && o.MinRate <= o.LearningRate, "optimizer.learning_rate", "must be above 0 and not below min_rate"},
		{unit(o.Beta1) && unit(o.Beta2), "optimizer.beta1, beta2", "must be 0 or more and below 1"},
		{positive(o.Epsilon), "optimizer.epsilon", "must be above 0"},
		{o.WeightDecay >= 0 && o.WeightDecay <= 1, "optimizer.weight_decay", "must be 0 to 1"},
		{positive(o.ClipNorm), "optimizer.clip_norm", "must be above 0"},
		{positive(m.LayerNormEpsilon), "model.layer_norm_epsilon", "must be above 0"},
	}
	for _, c := range checks {
		if !c.ok {
			return fault.Errorf(fault.Config, "run spec: %s %s", c.field, c.want)
		}
	}
	return nil
}

func positive(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
func unit(x float64) bool     { return x >= 0 && x < 1 }

// isPinned reports whether name is a Hub id, then @ and the 40 hex digits of a
// commit. It knows no more of ids than their characters and length.
func isPinned(name string) bool {
	id, commit, _ := strings.Cut(name, "@")
	return id != "" && len(id) <= 2*96+1 && len(commit) == 40 &&
		!strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) && strings.Trim(commit, "0123456789abcdef") == ""
}

func quotasFit(a *Assignment) bool {
	ascending := sort.SliceIsSorted(a.Quotas, func(i, j int) bool { return a.Quotas[i].UID < a.Quotas[j].UID })
	for i, q := range a.Quotas {
		if q.UID >= a.Slots || q.Sequences == 0 || q.Sequences > MaxSequences {
			return false
		}
		if i > 0 && a.Quotas[i-1].UID == q.UID {
			return false
		}
	}
	return ascending
}
