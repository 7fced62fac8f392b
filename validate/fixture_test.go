package validate

import (
	"context"
	"crypto/ed25519"
	"math"
	"slices"
	"testing"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/reduce/commit"
	"lockstep/stream"
	"lockstep/stream/tokenizer"
)

// key returns a key that depends on n alone.
func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, 31), n))
}

func peer(n byte) signed.PeerID { return signed.IDOf(key(n).Public().(ed25519.PublicKey)) }

const validatorKey = 200

// nanoRun is a run of four seats over the built-in corpus.
func nanoRun(t testing.TB, source stream.Source) *spec.Run {
	t.Helper()
	tok := tokenizer.Nano()
	config, _ := model.Builtin("nano")
	run := &spec.Run{
		Format: spec.Format, Contract: merkle.Contract, Codec: "f32",
		Model:     config.Spec("nano"),
		Init:      spec.Init{Kind: "seed"},
		Tokenizer: spec.Tokenizer{Name: tok.Name(), Digest: tok.Digest()},
		Data:      spec.Data{Source: source.Name(), Identity: source.Identity(), Rows: source.Rows()},
		Assignment: spec.Assignment{
			Seed: 38, Slots: 4, SegmentsPerMiner: 2, SegmentRows: 20, SeqLen: 32, Sequences: 24,
			Quotas: []spec.Quota{{UID: 3, Sequences: 12}},
		},
		Optimizer: spec.Optimizer{LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1, ClipNorm: 1},
	}
	if err := run.Validate(); err != nil {
		t.Fatal(err)
	}
	return run
}

// world is a validator's place: the run, the base state and a Computer.
type world struct {
	run      *spec.Run
	base     *model.State
	computer *Computer
}

func newWorld(t testing.TB) *world {
	t.Helper()
	source, err := stream.Open(context.Background(), "builtin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	run := nanoRun(t, source)
	computer, err := NewComputer(run, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	parameters, err := SeedParameters(run)
	if err != nil {
		t.Fatal(err)
	}
	return &world{run, model.NewState(parameters), computer}
}

func (w *world) parameters() *model.Parameters {
	return w.base.Parameters(w.computer.model.Config)
}

// compute returns the claim of a seat in the epoch after the base state, and a
// copy of its gradient.
func (w *world) compute(t testing.TB, uid uint32) (commit.Claim, []float32) {
	t.Helper()
	work, err := w.computer.Compute(t.Context(), w.parameters(), w.base.Epoch+1, uid)
	if err != nil {
		t.Fatal(err)
	}
	return w.computer.Claim(work, testRunID, w.base.Root()), slices.Clone(work.Gradient)
}

// testRunID is the run of the claims, rosters and verdicts in tests.
var testRunID = spec.RunID{9}

// query asks seat uid, whose key has the same number.
func (w *world) query(claim commit.Claim) Query {
	return Query{
		RunID: testRunID, Epoch: w.base.Epoch + 1, UID: claim.UID, Miner: peer(byte(claim.UID)), Base: w.base.Header(),
		Claim: commit.Seal(claim, key(byte(claim.UID))).Envelope(),
	}
}

func (w *world) judge(t testing.TB, q Query, leaves LeafSource) *Judgement {
	t.Helper()
	j, err := w.computer.Judge(t.Context(), q, w.parameters(), leaves)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// seal bundles the evidence of a judgement.
func (w *world) seal(t testing.TB, j *Judgement, round *commit.Evidence) *Evidence {
	t.Helper()
	e, err := j.Seal(w.run, round, key(validatorKey))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// verifier has text and seed at hand.
func (w *world) verifier() *Verifier {
	return &Verifier{
		Source: func(ctx context.Context, _ *spec.Run) (stream.Source, error) { return stream.Open(ctx, "builtin") },
		Parameters: func(_ context.Context, run *spec.Run, epoch uint64) (*model.Parameters, error) {
			return w.parameters(), nil
		},
	}
}

// leaves is a miner that shows a gradient; fields spoil what it shows.
type leaves struct {
	gradient   []float32
	digestsErr error
	leafErr    error
	spoil      func(digests []merkle.Digest) []merkle.Digest
	spoilLeaf  func(data []byte) []byte
	asked      int
}

func (l *leaves) grid() merkle.Grid {
	return merkle.Grid{Kind: merkle.KindGradient, Codec: merkle.CodecF32, Elements: len(l.gradient)}
}

func (l *leaves) Digests(context.Context) ([]merkle.Digest, error) {
	l.asked++
	d := l.grid().Digests(l.gradient)
	if l.spoil != nil {
		d = l.spoil(d)
	}
	return d, l.digestsErr
}

func (l *leaves) Leaf(_ context.Context, i int) ([]byte, error) {
	lo, hi := l.grid().LeafSpan(i)
	data := merkle.AppendFloat32(nil, l.gradient[lo:hi])
	if l.spoilLeaf != nil {
		data = l.spoilLeaf(data)
	}
	return data, l.leafErr
}

// rootOf returns the gradient root of x.
func rootOf(x []float32) merkle.Digest {
	l := leaves{gradient: x}
	return merkle.Root(l.grid().Digests(x))
}

// flip returns x with the lowest bit of one element changed: one ulp.
func flip(x []float32, element int) []float32 {
	y := slices.Clone(x)
	y[element] = math.Float32frombits(math.Float32bits(y[element]) ^ 1)
	return y
}
