package swarm

import (
	"crypto/ed25519"
	"math"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/seed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/validate"
)

// Cheat is a way in which a miner lies, for demonstrations and tests: a check
// that has never caught anybody proves nothing.
type Cheat uint8

// The cheats. The zero value is an honest miner.
const (
	Honest   Cheat = iota
	Random         // claims and serves a gradient that it did not compute
	Switch         // honest claim, but other bytes to the reducers, consistently signed
	Recommit       // honest claim, but a commitment to something else
	Tokens         // claims twice the tokens it computed
)

var cheatNames = [...]string{"none", "random", "switch", "recommit", "tokens"}

// String returns the cheat's name.
func (c Cheat) String() string { return cheatNames[c] }

// ParseCheat reads a cheat's name; "" is an honest miner.
func ParseCheat(name string) (Cheat, error) {
	if name == "" {
		return Honest, nil
	}
	for i, n := range cheatNames {
		if n == name {
			return Cheat(i), nil
		}
	}
	return Honest, fault.Errorf(fault.Usage, "%.40q is no cheat: use one of %v", name, cheatNames)
}

// CheatNumber returns the i-th cheat of a network, in turn: random, switch,
// recommit, tokens, random and so on.
func CheatNumber(i int) Cheat { return Cheat(1 + i%(len(cheatNames)-1)) }

// falsify turns honest work into what the cheat claims about it.
func (c Cheat) falsify(w *validate.Work, grid merkle.Grid, runSeed uint64) {
	switch c {
	case Random:
		s := seed.New(runSeed, "swarm/cheat", w.Epoch, uint64(w.UID))
		for i := range w.Gradient {
			w.Gradient[i] = float32(int32(s.At(uint64(i)))) * 0x1p-40 // plausible in size
		}
		w.Leaves = grid.Digests(w.Gradient)
		w.Facts.Gradient = merkle.Root(w.Leaves)
	case Tokens:
		w.Facts.Tokens *= 2
	}
}

// forger is an honest member whose mail is opened and changed on its way out.
type forger struct {
	*reduce.Member
	cheat Cheat
	uid   uint32
	key   ed25519.PrivateKey
	shape commit.Shape

	claim commit.Signed[commit.Claim]
}

// forge wraps a member for the cheats that happen inside the round.
func forge(m *reduce.Member, c Cheat, uid uint32, key ed25519.PrivateKey, shape commit.Shape) reduce.Machine {
	if c != Switch && c != Recommit {
		return m
	}
	return &forger{Member: m, cheat: c, uid: uid, key: key, shape: shape}
}

// Step implements reduce.Machine.
func (f *forger) Step(now time.Duration, e reduce.Event) []reduce.Action {
	if freeze, ok := e.(reduce.Freeze); ok {
		f.claim = freeze.Claim
	}
	actions := f.Member.Step(now, e)
	if f.cheat == Recommit {
		return f.recommit(e, actions)
	}
	for i, a := range actions {
		s, ok := a.(reduce.Send)
		if !ok {
			continue
		}
		if chunk, ok := s.Message.(reduce.ChunkMessage); ok && chunk.Header.Doc().Stream == commit.Scatter {
			s.Message = f.switched(chunk)
			actions[i] = s
		}
	}
	return actions
}

// switched replaces the first value of a chunk and signs a header that fits the
// new bytes.
func (f *forger) switched(m reduce.ChunkMessage) reduce.ChunkMessage {
	h := m.Header.Doc()
	data := append([]float32(nil), m.Data...)
	data[0] = math.Float32frombits(math.Float32bits(data[0]) ^ 1)
	encoded := make([]byte, f.shape.Bytes(len(data)))
	commit.Encode(encoded, data)
	h.Leaves = f.shape.ChunkDigests(merkle.KindGradient, int(h.Chunk), encoded)
	return reduce.ChunkMessage{Header: commit.Seal(h, f.key), Data: data}
}

// recommit commits to another root than the claimed one, and opens the claimed
// one as soon as the group is fixed. The honest member inside sees a set that
// does not list its own commitment and stays out of it.
func (f *forger) recommit(e reduce.Event, actions []reduce.Action) []reduce.Action {
	var out []reduce.Action
	for _, a := range actions {
		switch a := a.(type) {
		case reduce.Refused:
			continue
		case reduce.Send:
			if m, ok := a.Message.(reduce.CommitmentMessage); ok {
				c := m.Commitment.Doc()
				c.Hash = merkle.Digest{1}
				a.Message = reduce.CommitmentMessage{Commitment: commit.Seal(c, f.key)}
			}
			out = append(out, a)
		default:
			out = append(out, a)
		}
	}
	arrival, ok := e.(reduce.Arrival)
	if !ok {
		return out
	}
	if set, ok := arrival.Message.(reduce.SetMessage); ok {
		opening := commit.Seal(commit.Opening{
			Roster: set.RosterID(), UID: f.uid, Claim: f.claim.Digest(), Root: f.claim.Doc().Gradient,
		}, f.key)
		out = append(out, reduce.Send{To: arrival.From, Message: reduce.OpeningMessage{Opening: opening}})
	}
	return out
}
