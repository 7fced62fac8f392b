package validate

import (
	"encoding/json"
	"fmt"
	"math"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/reduce/commit"
)

// Summary is a verdict and its claim as people read them.
type Summary struct {
	Epoch       uint64        `json:"epoch"`
	UID         uint32        `json:"uid"`
	Miner       signed.PeerID `json:"miner"`
	Validator   signed.PeerID `json:"validator"`
	Outcome     Outcome       `json:"outcome"`
	Stage       Stage         `json:"stage,omitempty"`
	Kind        string        `json:"kind,omitempty"` // of cheat
	Text        string        `json:"text"`
	Difference  *View         `json:"difference,omitempty"`
	Claimed     *Facts        `json:"claimed,omitempty"`
	Loss        float64       `json:"loss,omitempty"` // claimed, per token
	Computed    Facts         `json:"computed"`
	Base        model.Header  `json:"base"`
	StateRoot   merkle.Digest `json:"state_root"` // of base
	Fingerprint merkle.Digest `json:"fingerprint"`
	RunID       spec.RunID    `json:"run_id"`
	Parts       []Part        `json:"parts"`
}

// View is a Difference in hex and decimal.
type View struct {
	Tensor   string `json:"tensor"`
	Index    uint64 `json:"index"`
	Element  uint64 `json:"element"`
	Leaf     uint32 `json:"leaf"`
	Claimed  Value  `json:"claimed"`
	Computed Value  `json:"computed"`
	ULP      string `json:"ulp"` // a number, or why there is none
}

// Value is a float32 in both notations.
type Value struct {
	Hex     string `json:"hex"`
	Decimal string `json:"decimal"` // a string, as JSON has no NaN
}

func valueOf(bits uint32) Value {
	return Value{fmt.Sprintf("0x%08x", bits), fmt.Sprint(math.Float32frombits(bits))}
}

// View returns d for people.
func (d Difference) View() View {
	v := View{
		Tensor: d.Tensor, Index: d.Index, Element: d.Element, Leaf: d.Leaf,
		Claimed: valueOf(d.Claimed), Computed: valueOf(d.Computed), ULP: "not comparable",
	}
	if ulp, ok := d.ULP(); ok {
		v.ULP = fmt.Sprint(ulp)
	}
	return v
}

// Summary returns the evidence for people.
func (e *Evidence) Summary() Summary {
	v := e.Verdict
	s := Summary{
		Epoch: v.Epoch, UID: v.UID, Miner: v.Miner, Validator: e.Validator,
		Outcome: v.Outcome, Stage: v.Stage, Kind: v.Kind(), Text: v.Text,
		Computed: v.Found, Base: v.Base, StateRoot: v.Base.Root(), Fingerprint: v.Fingerprint, RunID: v.RunID, Parts: v.Parts,
	}
	if !v.Differs.IsZero() {
		view := v.Differs.View()
		s.Difference = &view
	}
	if c, err := commit.Open[commit.Claim](e.Claim); err == nil {
		f := factsOf(c.Doc())
		s.Claimed, s.Loss = &f, c.Doc().Loss()/float64(f.Tokens)
	}
	return s
}

func (e *Evidence) summary() ([]byte, error) {
	b, err := json.MarshalIndent(e.Summary(), "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}
