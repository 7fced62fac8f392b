package model

import (
	"crypto/sha256"
	"encoding/binary"

	"lockstep/internal/merkle"
	"lockstep/optim"
)

// State is all that an epoch passes on to the next: parameters, AdamW's moments
// and two counters. The zero value is invalid: use NewState.
type State struct {
	Layout *Layout
	Epoch  uint64 // averagings so far
	Step   uint64 // optimizer steps so far
	Theta  []float32
	M, V   []float32

	spoilt bool
	valid  *optim.Config // the last one, which was checked
	norms  optim.Norms
	adamw  optim.AdamW
}

// NewState returns the state of epoch 0, which takes over p's memory.
func NewState(p *Parameters) *State {
	n := p.Layout.Elements
	return &State{Layout: p.Layout, Theta: p.Data, M: make([]float32, n), V: make([]float32, n)}
}

// Parameters returns the state's parameters, in the state's memory.
func (s *State) Parameters(c Config) *Parameters {
	return &Parameters{Config: c, Layout: s.Layout, Data: s.Theta}
}

// ApplyAverage takes one epoch's averaged gradient and does one AdamW step in
// place. Epoch and Step grow by one.
//
// An average that holds a NaN or an infinity is an *optim.NonFiniteError, and
// the state stays as it was. If the step itself runs into one, the state is
// spoilt and has to be thrown away.
func (s *State) ApplyAverage(average []float32, c optim.Config) (optim.Info, error) {
	s.mustBeSound()
	if s.valid == nil || c != *s.valid {
		if err := c.Validate(); err != nil {
			return optim.Info{}, err
		}
		valid := c
		s.valid = &valid
	}
	norm, err := s.norms.Norm("average", s.Layout.spans, average)
	if err != nil {
		return optim.Info{}, err
	}
	info, err := s.adamw.Step(c, s.Step+1, norm, s.Layout.spans, s.Theta, s.M, s.V, average)
	if err != nil {
		s.spoilt = true
		return optim.Info{}, err
	}
	s.Epoch++
	s.Step++
	return info, nil
}

// Sound reports whether the state is that of a whole step: false once a step has
// failed half-way.
func (s *State) Sound() bool { return !s.spoilt }

// mustBeSound panics if a step has failed half-way: such a state is never
// hashed or trained on (N21).
func (s *State) mustBeSound() {
	if s.spoilt {
		panic("model: use of a state whose step failed")
	}
}

// Root returns the state root (N22).
func (s *State) Root() merkle.Digest { return s.Header().Root() }

// Header returns what the state root covers.
func (s *State) Header() Header {
	s.mustBeSound()
	return Header{
		Epoch:      s.Epoch,
		Step:       s.Step,
		Parameters: s.Layout.Root(merkle.KindParameters, s.Theta),
		M:          s.Layout.Root(merkle.KindMomentM, s.M),
		V:          s.Layout.Root(merkle.KindMomentV, s.V),
	}
}

// Header is a state in short: its counters and the roots of its vectors. With
// it, parameters can be checked against a state root without the moments.
type Header struct {
	Epoch      uint64        `cbor:"1,keyasint" json:"epoch"`
	Step       uint64        `cbor:"2,keyasint" json:"step"`
	Parameters merkle.Digest `cbor:"3,keyasint" json:"parameters"`
	M          merkle.Digest `cbor:"4,keyasint" json:"m"`
	V          merkle.Digest `cbor:"5,keyasint" json:"v"`
}

// Root returns the state root: SHA-256 of "lockstep/state/1", u8 length and
// bytes of the contract id, u64 epoch, u64 optimizer step, and the roots of
// parameters, m and v. Integers are little-endian.
func (h Header) Root() merkle.Digest {
	b := []byte("lockstep/state/1")
	b = append(b, byte(len(merkle.Contract)))
	b = append(b, merkle.Contract...)
	b = binary.LittleEndian.AppendUint64(b, h.Epoch)
	b = binary.LittleEndian.AppendUint64(b, h.Step)
	for _, d := range []merkle.Digest{h.Parameters, h.M, h.V} {
		b = append(b, d[:]...)
	}
	return sha256.Sum256(b)
}
