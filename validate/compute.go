package validate

import (
	"context"
	"math"
	"slices"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/reduce/commit"
	"lockstep/stream"
	"lockstep/stream/tokenizer"
)

// Computer computes what a claim states: which text a seat owes in an epoch,
// and its loss and gradient on given parameters. A miner makes its claim with
// it and a validator checks claims with it; there is no other path. It serves
// one goroutine at a time. The zero value is invalid: use NewComputer.
type Computer struct {
	// Progress, if set, is called after every few sequences.
	Progress func(done, total int)

	run       *spec.Run
	source    stream.Source
	tokenizer tokenizer.Tokenizer
	model     *model.Model
	sum       *model.Accumulator // made on first use
}

// Work is what a seat computes in one epoch, by stages.
type Work struct {
	Epoch uint64
	UID   uint32
	Facts Facts // as far as computed
	Text  *stream.Work

	// Gradient is the frozen gradient, in the Computer's memory: the next
	// call of Computer.Gradient overwrites it. Leaves are its digests.
	Gradient []float32
	Leaves   []merkle.Digest
}

// NewComputer returns a Computer for a run. The source must be the one that the
// run spec names; tokenizer and model follow from the spec. micro is how many
// sequences go through the model at a time, which changes no bit; 0 leaves it
// to the model.
func NewComputer(run *spec.Run, source stream.Source, micro int) (*Computer, error) {
	if err := run.Validate(); err != nil {
		return nil, err
	}
	tok, err := Tokenizer(run)
	if err != nil {
		return nil, err
	}
	d := spec.Data{Source: source.Name(), Identity: source.Identity(), Rows: source.Rows()}
	if d != run.Data {
		return nil, fault.Errorf(fault.Config, "the run trains on %s %s with %d rows; this text is %s %s with %d rows",
			run.Data.Source, run.Data.Identity.Short(), run.Data.Rows, d.Source, d.Identity.Short(), d.Rows)
	}
	config, err := model.FromSpec(run.Model)
	if err != nil {
		return nil, err
	}
	m, err := model.New(config)
	if err != nil {
		return nil, err
	}
	m.MicroBatch = micro
	return &Computer{run: run, source: source, tokenizer: tok, model: m}, nil
}

// Tokenizer returns the tokenizer that a run spec names.
func Tokenizer(run *spec.Run) (tokenizer.Tokenizer, error) {
	tok, err := tokenizer.ByName(run.Tokenizer.Name)
	if err != nil {
		return nil, err
	}
	if tok.Digest() != run.Tokenizer.Digest {
		return nil, fault.Errorf(fault.Config, "tokenizer %s is %s here, %s in the run: its tokens or the Unicode tables of this program are others",
			tok.Name(), tok.Digest().Short(), run.Tokenizer.Digest.Short())
	}
	return tok, nil
}

// Assignment returns how a run deals its rows.
func Assignment(run *spec.Run) stream.Assignment {
	a := run.Assignment
	return stream.Assignment{
		Seed: a.Seed, Slots: a.Slots, SegmentsPerMiner: a.SegmentsPerMiner,
		SegmentRows: a.SegmentRows, Rows: run.Data.Rows,
	}
}

// Layout returns the layout of the run's vectors.
func (c *Computer) Layout() *model.Layout { return c.model.Layout }

// Compute does all stages for a seat in an epoch. p are the parameters of the
// state before the epoch's step.
func (c *Computer) Compute(ctx context.Context, p *model.Parameters, epoch uint64, uid uint32) (*Work, error) {
	w, err := c.Load(ctx, epoch, uid)
	if err != nil {
		return nil, err
	}
	return w, c.Gradient(ctx, p, w)
}

// Load does the stages before the model: segments, counts, rows and tokens. The
// rows of the seat's next epoch are fetched meanwhile, if they have to be.
func (c *Computer) Load(ctx context.Context, epoch uint64, uid uint32) (*Work, error) {
	segments, err := Assignment(c.run).Segments(epoch, uid)
	if err != nil {
		return nil, err
	}
	if next, err := Assignment(c.run).Segments(epoch+1, uid); err == nil {
		stream.Ahead(c.source, slices.Concat(segments, next))
	}
	a := c.run.Assignment
	text, err := stream.Load(ctx, c.source, c.tokenizer, segments, int(a.SeqLen), int(c.run.QuotaOf(uid)))
	if err != nil {
		return nil, err
	}
	w := &Work{Epoch: epoch, UID: uid, Text: text}
	f := &w.Facts
	for _, s := range segments {
		f.Segments = append(f.Segments, s.First/uint64(a.SegmentRows))
	}
	f.Sequences, f.Tokens = uint32(text.Sequences), text.Tokens()
	f.Rows, f.TokenIDs = text.RowsDigest, text.TokensDigest
	return w, nil
}

// tokensBetweenLooks is about how many tokens pass between two looks at the context.
const tokensBetweenLooks = 4096

// Gradient does the stages of the model: loss and gradient.
func (c *Computer) Gradient(ctx context.Context, p *model.Parameters, w *Work) error {
	if c.sum == nil {
		c.sum = model.NewAccumulator(c.model.Layout)
	}
	c.sum.Reset()
	total, t := w.Text.Sequences, w.Text.SeqLen
	step := max(1, c.model.MicroBatch, tokensBetweenLooks/t)
	for lo := 0; lo < total; lo += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		hi := min(lo+step, total)
		inputs, targets := w.Text.Slice(lo, hi)
		if err := c.model.Gradient(p, model.Batch{Inputs: inputs, Targets: targets, B: hi - lo, T: t}, c.sum); err != nil {
			return err
		}
		if c.Progress != nil {
			c.Progress(hi, total)
		}
	}
	gradient, err := c.sum.Freeze()
	if err != nil {
		return err
	}
	w.Gradient = gradient
	w.Leaves = c.model.Layout.Grid(merkle.KindGradient).Digests(gradient)
	w.Facts.LossBits = math.Float64bits(c.sum.Loss)
	w.Facts.Gradient = merkle.Root(w.Leaves)
	return nil
}

// Claim returns the claim that the computed work supports, for its miner to
// sign in a run. base is the root of the state that it was computed on.
func (c *Computer) Claim(w *Work, id spec.RunID, base merkle.Digest) commit.Claim {
	f := w.Facts
	return commit.Claim{
		Fingerprint: c.run.Fingerprint(), RunID: id, Epoch: w.Epoch, UID: w.UID, Base: base,
		Segments: f.Segments, Sequences: f.Sequences, Tokens: f.Tokens,
		Rows: f.Rows, TokenIDs: f.TokenIDs, LossBits: f.LossBits, Gradient: f.Gradient,
		Elements: uint64(c.model.Layout.Elements),
	}
}
