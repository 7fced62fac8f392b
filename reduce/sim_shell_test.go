package reduce

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// apply takes the optimizer step: the new state root follows from the old one
// and the average alone.
func (w *world) apply(n *node, d commit.Decision) {
	life := n.life
	w.after(w.within(20*time.Millisecond), "apply", func() {
		if n.life != life || d.Epoch != n.disk.epoch+1 {
			return
		}
		w.checker.applied(n, d)
		w.advance(n, d.Epoch, sha256.Sum256(append(n.disk.root[:], d.Result[:]...)))
	})
}

func (w *world) advance(n *node, epoch uint64, root merkle.Digest) {
	n.disk.epoch, n.disk.root = epoch, root
	w.checker.state(n)
	n.claim = commit.Signed[commit.Claim]{}
	w.feed(n, Applied{epoch, root})
	if n.up && n.isMember() {
		w.train(n)
	}
	if n.up && n.isValidator() {
		life := n.life
		w.after(w.within(50*time.Millisecond), "lead", func() { w.lead(n, life, epoch+1) })
	}
}

// catchUp finds the average, or a whole state, wherever there is one.
func (w *world) catchUp(n *node, c commit.Certified) {
	life, d := n.life, c.Decision()
	w.after(10*time.Millisecond+w.within(100*time.Millisecond), "catch up", func() {
		if n.life != life || n.disk.epoch >= d.Epoch {
			return
		}
		for _, p := range w.nodes {
			if p != n && !p.up {
				continue
			}
			for _, s := range p.disk.averages {
				if s.epoch == d.Epoch && s.root == d.Result && n.disk.epoch+1 == d.Epoch {
					n.keep(s)
					w.apply(n, d)
					return
				}
			}
			if p != n && p.disk.epoch >= d.Epoch && p.role == honest {
				w.advance(n, p.disk.epoch, p.disk.root)
				return
			}
		}
		w.after(500*time.Millisecond, "catch up again", func() {
			if n.life == life {
				w.catchUp(n, c)
			}
		})
	})
}

// train computes the gradient of the next epoch and publishes the claim.
func (w *world) train(n *node) {
	life := n.life
	w.after(50*time.Millisecond+w.within(400*time.Millisecond), "train", func() {
		m, _ := n.machines[0].(*Member)
		if n.life != life || !n.claim.IsZero() {
			return
		}
		if m.pending() { // a certified epoch is to be applied first
			w.train(n)
			return
		}
		d := n.work(n.disk.epoch+1, n.disk.root)
		if n.role == poison {
			m.frozen = &frozen{d.claim, d.gradient, d.leaves} // past the check of its own machine
		}
		w.feed(n, Freeze{d.claim, d.gradient, d.leaves})
		w.after(0, "publish", func() {
			switch {
			case n.life != life || m.pending():
			case m.frozen != nil && m.frozen.claim.Digest() == d.claim.Digest():
				n.claim = d.claim
				w.checker.froze(n, d.gradient)
			default:
				w.train(n) // the machine was not ready to take it
			}
		})
	})
}

// work is a gradient and the claim over it.
type work struct {
	claim    commit.Signed[commit.Claim]
	gradient []float32
	leaves   []merkle.Digest
}

// work returns the gradient of a member: a function of uid, epoch and base
// state. In each element one member of three has a large value, the next one its
// negative and the third a small one, so that the order of a sum shows in its
// bits.
func (n *node) work(epoch uint64, base merkle.Digest) work {
	for _, d := range n.done {
		if c := d.claim.Doc(); c.Epoch == epoch && c.Base == base {
			return d
		}
	}
	state := binary.LittleEndian.Uint64(base[:])
	shared := rand.New(rand.NewPCG(state, epoch))
	rng := rand.New(rand.NewPCG(state^n.w.plan.spoil, uint64(n.uid+1)<<32|epoch))
	x := make([]float32, n.cfg.Shape.Elements)
	for i := range x {
		large := math.Ldexp(1+shared.Float64(), 60+shared.IntN(20))
		x[i] = float32([]float64{large, -large, rng.NormFloat64()}[(n.uid+i)%3])
	}
	if n.role == poison {
		x[rng.IntN(len(x))] = float32(math.NaN())
	}
	leaves := n.cfg.Shape.Digests(merkle.KindGradient, x)
	d := work{commit.Seal(commit.Claim{
		Fingerprint: n.cfg.Fingerprint, RunID: n.cfg.RunID, Epoch: epoch, UID: uint32(n.uid), Base: base,
		Tokens: 1 + rng.Uint64N(5000), Gradient: merkle.Root(leaves), Elements: uint64(len(x)),
	}, n.cfg.Key), x, leaves}
	n.done = append(n.done, d)
	return d
}

// lead opens the next epoch with whoever has published a claim.
func (w *world) lead(n *node, life int, epoch uint64) {
	next := n.disk.epoch + 1
	if n.life != life || !n.up || epoch != 0 && epoch != next || n.disk.epoch >= w.plan.epochs {
		return
	}
	e := Open{Epoch: next, Base: n.disk.root, Observers: []commit.Observer{{Peer: n.id}}}
	if w.plan.bystander {
		e.Observers = append(e.Observers, commit.Observer{Peer: w.nodes[len(w.nodes)-1].id})
	}
	for _, m := range w.nodes[:w.plan.members] {
		if c := m.claim; m.up && !c.IsZero() && c.Doc().Epoch == next && c.Doc().Base == n.disk.root {
			e.Candidates = append(e.Candidates, Candidate{Claim: c})
		}
	}
	// Wait for stragglers, but not for ever.
	if len(e.Candidates) < w.plan.members && (w.plan.patient || w.rng.IntN(8) != 0) || len(e.Candidates) < w.plan.minGroup {
		w.after(200*time.Millisecond, "wait", func() { w.lead(n, life, epoch) })
		return
	}
	w.feed(n, e)
}
