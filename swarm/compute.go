package swarm

import (
	"context"
	"errors"
	"time"

	"lockstep/internal/merkle"
	"lockstep/model"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/validate"
)

// computation is a claim in the making.
type computation struct {
	cancel context.CancelFunc
	done   chan struct{}
	began  time.Time
	work   *validate.Work
	err    error
}

// stop ends the computation at the next micro-batch and waits for that.
func (c *computation) stop() {
	c.cancel()
	<-c.done
}

// compute starts on the claim of the epoch after the state's.
func (m *miner) compute(ctx context.Context) *computation {
	ctx, cancel := context.WithCancel(ctx)
	c := &computation{cancel: cancel, done: make(chan struct{}), began: time.Now()}
	m.progress("computing", 0)
	before := 0
	m.computer.Progress = func(done, total int) {
		if done < before {
			before = 0
		}
		m.steps.Add(1)
		m.samples.Add(uint64(done - before))
		before = done
		m.progress("computing", uint64(done))
	}
	p, epoch := m.parameters(), m.state.Epoch+1
	go func() {
		defer close(c.done)
		c.work, c.err = m.computer.Compute(ctx, p, epoch, m.uid)
	}()
	return c
}

// parameters are those of the state, in its memory.
func (m *miner) parameters() *model.Parameters { return m.state.Parameters(m.config) }

// offer signs the claim, hands the gradient to the machine and answers queries
// about it from now on.
func (m *miner) offer(c *computation) error {
	if c.err != nil {
		if errors.Is(c.err, context.Canceled) {
			return nil // we were stopped; whoever did knows why
		}
		return c.err
	}
	w := c.work
	m.cfg.Cheat.falsify(w, m.layout().Grid(merkle.KindGradient), m.Run.Assignment.Seed)
	claim := commit.Seal(m.computer.Claim(w, m.runID(), m.digests.root), m.id.Key)
	m.driver.Post(reduce.Freeze{Claim: claim, Gradient: w.Gradient, Leaves: w.Leaves})
	m.shelf.put(&offer{w.Epoch, claim, w.Gradient, w.Leaves})
	m.emit(ClaimReady{
		UID: m.uid, Epoch: w.Epoch, Loss: w.Facts.Loss() / float64(claim.Doc().Tokens), Tokens: claim.Doc().Tokens,
		Sequences: w.Facts.Sequences, Gradient: w.Facts.Gradient, Seconds: time.Since(c.began).Seconds(),
	})
	m.progress("waiting", uint64(w.Facts.Sequences))
	return nil
}

// progress reports where this miner is.
func (m *miner) progress(phase string, done uint64) {
	m.emit(Progress{
		UID: m.uid, Epoch: m.state.Epoch + 1, Final: m.now.get().Final, Phase: phase,
		Done: done, Quota: uint64(m.Run.QuotaOf(m.uid)), Steps: m.steps.Load(), Local: m.samples.Load(), Global: m.tokens.Load(),
	})
}
