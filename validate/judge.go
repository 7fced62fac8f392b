package validate

import (
	"context"
	"fmt"
	"slices"

	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/reduce/commit"
	"lockstep/stream"
)

// Query is one Train query: what a validator knows of a seat in an epoch, and
// what it got.
type Query struct {
	RunID spec.RunID
	Epoch uint64
	UID   uint32
	Miner signed.PeerID   // who sits on the seat
	Base  model.Header    // the state that the epoch starts from
	Claim signed.Envelope // as received; nil where none came in time
}

// Judgement is what came of a query. Verdict.Parts is empty until the evidence
// is sealed.
type Judgement struct {
	Verdict Verdict
	Claim   commit.Signed[commit.Claim] // zero unless it can be read
	Rows    []stream.RowRef             // that were read; nil where nothing was computed
	Leaf    *Leaf                       // opened, where the gradient differs
}

// Judge answers a Train query by full recomputation. parameters are those of
// q.Base; leaves is how the miner shows its gradient, and is asked only where
// the gradient differs. A claim that is false before the model's stages costs
// no gradient.
//
// An error says that this validator could not decide: it is no verdict.
func (c *Computer) Judge(ctx context.Context, q Query, parameters *model.Parameters, leaves LeafSource) (*Judgement, error) {
	j := &Judgement{Verdict: Verdict{
		Fingerprint: c.run.Fingerprint(), RunID: q.RunID, Epoch: q.Epoch, UID: q.UID, Miner: q.Miner, Base: q.Base,
	}}
	v := &j.Verdict
	if j.Claim, v.Outcome, v.Text = admit(c.run, c.Layout(), q); v.Outcome != 0 {
		if !j.Claim.IsZero() {
			v.Claim = j.Claim.Digest()
		}
		return j, nil
	}
	v.Claim = j.Claim.Digest()
	claimed := factsOf(j.Claim.Doc())
	w, stage, text, err := c.recompute(ctx, q.Epoch, q.UID, claimed, parameters)
	if err != nil {
		return nil, err
	}
	j.Rows, v.Found, v.Stage, v.Text = w.Text.Rows, w.Facts, stage, text
	switch {
	case v.Stage == 0:
		v.Outcome, v.Text = Exact, fmt.Sprintf("%d tokens recomputed, bit for bit", claimed.Tokens)
	case gradientDiffers(v.Stage, claimed, v.Found):
		err = j.open(ctx, c.Layout(), claimed.Gradient, w, leaves)
	default:
		v.Outcome = Mismatch
	}
	if err != nil {
		return nil, err
	}
	return j, nil
}

// recompute does the stages of a seat's work as far as the claimed facts hold,
// and says at which stage they do not: 0 where they all do.
func (c *Computer) recompute(ctx context.Context, epoch uint64, uid uint32, claimed Facts, parameters *model.Parameters) (*Work, Stage, string, error) {
	w, err := c.Load(ctx, epoch, uid)
	if err != nil {
		return nil, 0, "", err
	}
	if stage, text := compareText(claimed, w.Facts); stage != 0 {
		return w, stage, text, nil
	}
	if err := c.Gradient(ctx, parameters, w); err != nil {
		return nil, 0, "", err
	}
	stage, text := compareModel(claimed, w.Facts)
	return w, stage, text, nil
}

// gradientDiffers reports whether both sides have a gradient, and not the same.
func gradientDiffers(s Stage, claimed, found Facts) bool {
	return s >= StageLoss && claimed.Gradient != found.Gradient
}

// admit finds what is wrong with a claim before anything is computed: outcome
// 0 where nothing is.
func admit(run *spec.Run, layout *model.Layout, q Query) (claim commit.Signed[commit.Claim], o Outcome, text string) {
	if q.Claim == nil {
		return claim, Absent, "no claim came in time"
	}
	claim, err := commit.Open[commit.Claim](q.Claim)
	if err != nil {
		return claim, Malformed, line(err.Error())
	}
	doc := claim.Doc()
	switch {
	case claim.Signer() != q.Miner:
		return claim, Malformed, fmt.Sprintf("signed by %s; the seat is that of %s", claim.Signer().Short(), q.Miner.Short())
	case doc.Fingerprint != run.Fingerprint():
		return claim, Malformed, fmt.Sprintf("for run spec %s; this is %s", doc.Fingerprint.Short(), run.Fingerprint().Short())
	case doc.RunID != q.RunID:
		return claim, Malformed, fmt.Sprintf("for run %s of this spec; this is run %s", doc.RunID.Short(), q.RunID.Short())
	case doc.Epoch != q.Epoch || doc.UID != q.UID:
		return claim, Malformed, fmt.Sprintf("for epoch %d, uid %d", doc.Epoch, doc.UID)
	case doc.Elements != uint64(layout.Elements):
		return claim, Malformed, fmt.Sprintf("a gradient of %d elements; the model has %d", doc.Elements, layout.Elements)
	case doc.Base != q.Base.Root():
		return claim, WrongBase, fmt.Sprintf("computed on state %s; epoch %d starts from %s", doc.Base.Short(), q.Epoch, q.Base.Root().Short())
	}
	return claim, 0, ""
}

// compareText compares the stages that come before the model. It returns the
// first stage in which claim and recomputation differ, or 0.
func compareText(claimed, found Facts) (Stage, string) {
	switch {
	case !slices.Equal(claimed.Segments, found.Segments):
		return StageSegments, fmt.Sprintf("claims segments %v; assigned are %v", some(claimed.Segments), some(found.Segments))
	case claimed.Sequences != found.Sequences:
		return StageCount, fmt.Sprintf("claims %d sequences; %d are owed", claimed.Sequences, found.Sequences)
	case claimed.Tokens != found.Tokens:
		return StageCount, fmt.Sprintf("claims %d tokens; its %d sequences have %d", claimed.Tokens, found.Sequences, found.Tokens)
	case claimed.Rows != found.Rows:
		return StageRows, digests("rows", claimed.Rows, found.Rows)
	case claimed.TokenIDs != found.TokenIDs:
		return StageTokens, digests("token ids", claimed.TokenIDs, found.TokenIDs)
	}
	return 0, ""
}

// compareModel goes on where compareText found nothing.
func compareModel(claimed, found Facts) (Stage, string) {
	switch {
	case claimed.LossBits != found.LossBits:
		return StageLoss, fmt.Sprintf("claims loss 0x%016x (%v); computed is 0x%016x (%v)", claimed.LossBits, claimed.Loss(), found.LossBits, found.Loss())
	case claimed.Gradient != found.Gradient:
		return StageGradient, digests("gradient", claimed.Gradient, found.Gradient)
	}
	return 0, ""
}

func digests(what string, claimed, found merkle.Digest) string {
	return fmt.Sprintf("claims %s %s; computed is %s", what, claimed.Short(), found.Short())
}

// some keeps long lists out of messages.
func some(segments []uint64) string {
	if len(segments) > 4 {
		return fmt.Sprintf("%v and %d more", segments[:4], len(segments)-4)
	}
	return fmt.Sprint(segments)
}

// open completes the verdict on a gradient that differs.
func (j *Judgement) open(ctx context.Context, layout *model.Layout, root merkle.Digest, w *Work, leaves LeafSource) error {
	v := &j.Verdict
	leaf, why, err := openLeaf(ctx, root, layout.Grid(merkle.KindGradient), w.Leaves, leaves)
	if err != nil {
		return err
	}
	if leaf == nil {
		v.Outcome, v.Stage, v.Text = Withheld, 0, v.Text+"; "+why
		return nil
	}
	v.Outcome, j.Leaf = Mismatch, leaf
	var text string
	v.Differs, text = leaf.difference(layout, w.Gradient)
	v.Text += "; " + text
	return nil
}

// Convict makes the verdict that of a member which signed evidence of the
// averaging round proves wrong. A claim that was found false stays that.
func (j *Judgement) Convict(f commit.Finding) {
	v := &j.Verdict
	if v.Outcome.False() {
		return
	}
	v.Outcome, v.Round, v.Text = Convicted, f.Kind, line(f.Text)
}
