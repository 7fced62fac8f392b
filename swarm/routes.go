package swarm

import (
	"context"
	"time"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/swarm/control"
)

// sharing answers what any seated node may ask of any other: states and
// averages.
type sharing struct {
	archive  *archive
	averages *averages
	chunks   int   // of an average
	bell     *bell // rung when the archive has a new state
	status   func() control.Status
}

// word is a signed document in an answer.
type word struct {
	Signed signed.Envelope `cbor:"1,keyasint" json:"signed"`
}

func (s *sharing) routes() []control.Route {
	return []control.Route{
		{Pattern: "GET /v1/status", Access: control.Seated, Serve: s.serveStatus},
		{Pattern: "GET /v1/state/{epoch}/header", Access: control.Seated, Serve: s.header},
		{Pattern: "GET /v1/state/{epoch}/{vector}/leaves", Access: control.Seated, Serve: s.stateLeaves},
		{Pattern: "GET /v1/state/{epoch}/{vector}/chunk/{chunk}", Access: control.Seated, Serve: s.stateChunk},
		{Pattern: "GET /v1/average/{epoch}/leaves", Access: control.Seated, Serve: s.averageLeaves},
		{Pattern: "GET /v1/average/{epoch}/chunk/{chunk}", Access: control.Seated, Serve: s.averageChunk},
	}
}

func (s *sharing) serveStatus(context.Context, control.Call) (control.Reply, error) {
	return control.Reply{Document: s.status()}, nil
}

// header gives the node's signed word for its state after an epoch, as soon as
// it has one.
func (s *sharing) header(ctx context.Context, c control.Call) (control.Reply, error) {
	epoch, err := c.Number("epoch")
	if err != nil {
		return control.Reply{}, err
	}
	var state *shown
	ready := func() bool {
		found, ok := s.archive.get(epoch)
		state = found
		return ok
	}
	if !s.bell.waitFor(ctx, c.Wait, ready) {
		return control.Reply{}, control.Refuse(control.Later, "the state of epoch %d is not here", epoch)
	}
	return control.Reply{Document: word{state.signed}, View: struct {
		control.State
		Root merkle.Digest `json:"root"`
	}{state.State, state.root}}, nil
}

// vectorIn finds the state and vector that a path names.
func (s *sharing) vectorIn(c control.Call) (*shown, int, error) {
	epoch, err := c.Number("epoch")
	if err != nil {
		return nil, 0, err
	}
	for i, v := range vectors {
		if v.name != c.Word("vector") {
			continue
		}
		state, ok := s.archive.get(epoch)
		if !ok {
			return nil, 0, control.Refuse(control.Absent, "the state of epoch %d is not here", epoch)
		}
		return state, i, nil
	}
	return nil, 0, control.Refuse(control.Malformed, "a state has the vectors parameters, m and v, not %.20q", c.Word("vector"))
}

func (s *sharing) stateLeaves(_ context.Context, c control.Call) (control.Reply, error) {
	state, v, err := s.vectorIn(c)
	if err != nil {
		return control.Reply{}, err
	}
	return control.Reply{Raw: joinDigests(state.leaves[v])}, nil
}

func (s *sharing) stateChunk(_ context.Context, c control.Call) (control.Reply, error) {
	state, v, err := s.vectorIn(c)
	if err != nil {
		return control.Reply{}, err
	}
	n, err := chunkNumber(c, merkle.Grid{Elements: state.file.Elements}.Chunks())
	if err != nil {
		return control.Reply{}, err
	}
	raw, err := state.chunk(v, n)
	if err != nil {
		return control.Reply{}, control.Refuse(control.Absent, "the state of epoch %d is no longer here", state.Epoch)
	}
	return control.Reply{Raw: raw}, nil
}

// chunkNumber reads the chunk of a path to a vector with so many of them.
func chunkNumber(c control.Call, chunks int) (int, error) {
	n, err := c.Number("chunk")
	if err != nil {
		return 0, err
	}
	if n >= uint64(chunks) {
		return 0, control.Refuse(control.Absent, "chunk %d of %d", n, chunks)
	}
	return int(n), nil
}

func (s *sharing) averageLeaves(_ context.Context, c control.Call) (control.Reply, error) {
	epoch, err := c.Number("epoch")
	if err != nil {
		return control.Reply{}, err
	}
	leaves, ok := s.averages.leaves(epoch)
	if !ok {
		return control.Reply{}, control.Refuse(control.Absent, "the average of epoch %d is not here", epoch)
	}
	return control.Reply{Raw: joinDigests(leaves)}, nil
}

func (s *sharing) averageChunk(_ context.Context, c control.Call) (control.Reply, error) {
	epoch, err := c.Number("epoch")
	if err != nil {
		return control.Reply{}, err
	}
	n, err := chunkNumber(c, s.chunks)
	if err != nil {
		return control.Reply{}, err
	}
	raw, ok := s.averages.chunk(epoch, n)
	if !ok {
		return control.Reply{}, control.Refuse(control.Absent, "the average of epoch %d is not here", epoch)
	}
	return control.Reply{Raw: raw}, nil
}

// routes answers Train queries.
func (s *shelf) routes() []control.Route {
	return []control.Route{
		{Pattern: "GET /v1/claim/{epoch}", Access: control.Validators, Query: "train", Serve: s.serveClaim},
		{Pattern: "GET /v1/claim/{epoch}/leaves", Access: control.Validators, Serve: s.serveLeaves},
		{Pattern: "GET /v1/claim/{epoch}/leaf/{leaf}", Access: control.Validators, Serve: s.serveLeaf},
	}
}

// serveClaim gives the claim of an epoch as soon as it is signed.
func (s *shelf) serveClaim(ctx context.Context, c control.Call) (control.Reply, error) {
	epoch, err := c.Number("epoch")
	if err != nil {
		return control.Reply{}, err
	}
	var found *offer
	var later bool
	s.bell.waitFor(ctx, c.Wait, func() bool {
		found, later = s.find(epoch)
		return !later
	})
	switch {
	case found != nil:
		return control.Reply{Document: word{found.claim.Envelope()}, View: found.claim.Doc()}, nil
	case later:
		return control.Reply{}, control.Refuse(control.Later, "the claim of epoch %d is not ready", epoch)
	}
	return control.Reply{}, control.Refuse(control.Absent, "the claim of epoch %d is no longer here", epoch)
}

func (s *shelf) serveLeaves(_ context.Context, c control.Call) (control.Reply, error) {
	epoch, err := c.Number("epoch")
	if err != nil {
		return control.Reply{}, err
	}
	o, _ := s.find(epoch)
	if o == nil {
		return control.Reply{}, control.Refuse(control.Absent, "no claim of epoch %d is here", epoch)
	}
	return control.Reply{Raw: joinDigests(o.leaves)}, nil
}

func (s *shelf) serveLeaf(_ context.Context, c control.Call) (control.Reply, error) {
	epoch, err := c.Number("epoch")
	if err != nil {
		return control.Reply{}, err
	}
	leaf, err := c.Number("leaf")
	if err != nil {
		return control.Reply{}, err
	}
	raw, ok := s.leaf(epoch, int(min(leaf, 1<<31)))
	if !ok {
		return control.Reply{}, control.Refuse(control.Absent, "leaf %d of epoch %d is not here", leaf, epoch)
	}
	return control.Reply{Raw: raw}, nil
}

// poll is how long one wait for another node's answer lasts; then it is asked
// again, so that a dead connection is noticed.
const poll = 20 * time.Second
