package swarm

import (
	"fmt"

	"lockstep/hub"
	"lockstep/hub/safetensors"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/stream/tokenizer"
)

// Published is a model as it goes into the repository. Equal values give equal
// files, byte for byte, whoever writes them: so a second pusher finds its work
// done, and not in the way. The zero value is invalid.
type Published struct {
	Run        *spec.Run
	Tokenizer  tokenizer.Tokenizer
	Parameters *model.Parameters
	Epoch      uint64
	State      merkle.Digest // state root after the epoch
	Members    []uint32      // uids whose gradients were averaged, ascending; none in a run without a network
	Loss       float64       // token mean of the group, before the epoch's step
	Tokens     uint64        // of the whole run so far
}

// Files returns what is committed for an epoch: config.json,
// generation_config.json, model.safetensors, the tokenizer's files, and the
// card README.md. The weights are streamed from the memory of Parameters.
func (p *Published) Files() ([]hub.Content, error) {
	weights, err := p.Weights()
	if err != nil {
		return nil, err
	}
	c := p.Parameters.Config
	out := []hub.Content{
		hub.Bytes("README.md", p.card()),
		hub.Bytes("config.json", c.JSON()),
		hub.Bytes("generation_config.json", hub.GenerationConfig(int32(c.EndOfText), int32(c.EndOfText))),
		hub.Stream(hub.WeightsFile, weights),
	}
	for _, f := range p.Tokenizer.Files() {
		out = append(out, hub.Bytes(f.Name, f.Data))
	}
	return out, nil
}

// Weights returns model.safetensors. Its metadata says which state the weights
// belong to.
func (p *Published) Weights() (*safetensors.Encoder, error) {
	var tensors []safetensors.Tensor
	for t, data := range p.Parameters.Tensors() {
		tensors = append(tensors, safetensors.Tensor{Name: t.Name, Shape: t.Shape, Data: data})
	}
	return safetensors.NewEncoder(map[string]string{
		"lockstep.epoch":       fmt.Sprint(p.Epoch),
		"lockstep.fingerprint": p.Run.Fingerprint().String(),
		"lockstep.state":       p.State.String(),
	}, tensors)
}

// Message returns the commit message of the epoch.
func (p *Published) Message() string {
	return fmt.Sprintf("Epoch %d\n\nstate root %s\n", p.Epoch, p.State)
}
