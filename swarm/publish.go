package swarm

import (
	"context"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/model"
	"lockstep/swarm/control"
)

// pushBackoff bounds one node's attempts at an upload; then the validator asks
// the next one.
var pushBackoff = hub.Backoff{Attempts: 3, First: 500 * time.Millisecond, Longest: 5 * time.Second, Sleep: hub.Sleep}

// pushTime bounds one node's push, all attempts and the wait for its own save
// included.
const pushTime = 10 * time.Minute

// pushedWord is a miner's answer to a request to push.
type pushedWord struct {
	Tag     string `cbor:"1,keyasint" json:"tag"`
	Commit  string `cbor:"2,keyasint" json:"commit"`
	Existed bool   `cbor:"3,keyasint" json:"existed"` // somebody had pushed it before
}

// servePush publishes an epoch, from its saved state, on a validator's request.
// It runs beside training and touches nothing of it, and goes on if the
// validator goes away.
func (m *miner) servePush(_ context.Context, c control.Call) (control.Reply, error) {
	var w word
	if err := c.Read(&w); err != nil {
		return control.Reply{}, err
	}
	r, err := control.Open[control.Record](w.Signed, c.Peer)
	if err != nil {
		return control.Reply{}, control.Refuse(control.Malformed, "%v", err)
	}
	ctx, cancel := context.WithTimeout(m.ctx, pushTime)
	defer cancel()
	// The validator may be ahead of us by the time that a save takes.
	m.news.waitFor(ctx, poll, func() bool {
		newest, ok := m.archive.newest()
		return ok && newest.Epoch >= r.Epoch
	})
	pushed, err := m.pushOne(ctx, r)
	if err != nil {
		return control.Reply{}, control.Refuse(control.Failed, "%v", err)
	}
	m.emit(Pushed{r.Epoch, pushed.Tag, m.uid, pushed.Commit.ID})
	return control.Reply{Document: pushedWord{pushed.Tag, pushed.Commit.ID, pushed.Existed}}, nil
}

// pushOne publishes one epoch from its saved state.
func (n *node) pushOne(ctx context.Context, r control.Record) (hub.Pushed, error) {
	if n.Hub == nil {
		return hub.Pushed{}, fault.Errorf(fault.Config, "this node has no repository")
	}
	p, err := n.published(ctx, r)
	if err != nil {
		return hub.Pushed{}, err
	}
	files, err := p.Files()
	if err != nil {
		return hub.Pushed{}, err
	}
	return hub.PushEpoch(ctx, n.Hub, r.Epoch, files, p.Message(), pushBackoff)
}

// published returns the model of an epoch, from the saved state, for writing or
// checking its files. The error is fault.Config where that state is gone.
func (n *node) published(ctx context.Context, r control.Record) (*Published, error) {
	theta := make([]float32, n.layout().Elements)
	if err := n.archive.weights(ctx, r.Epoch, theta); err != nil {
		return nil, err
	}
	p := &model.Parameters{Config: n.config, Layout: n.layout(), Data: theta}
	if root := p.Root(); root != r.State.Parameters {
		return nil, fault.Errorf(fault.Damaged, "the saved weights of epoch %d have root %s; certified is %s", r.Epoch, root.Short(), r.State.Parameters.Short())
	}
	d, err := n.decisionOf(r)
	if err != nil {
		return nil, err
	}
	return &Published{
		Run: n.Run, Tokenizer: n.tokenizer, Parameters: p, Epoch: r.Epoch, State: rootOf(r.State),
		Members: d.Members, Loss: r.Loss() / float64(d.Tokens), Tokens: r.Tokens,
	}, nil
}
