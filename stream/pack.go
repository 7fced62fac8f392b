package stream

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/stream/tokenizer"
)

// RowRef is a row that was read, by number and content.
type RowRef struct {
	Row    uint64
	Digest merkle.Digest
}

// Work is what a miner computes a gradient on, with the digests of steps 2 to 4
// of the chain. FORMATS.md draws the bytes behind them.
type Work struct {
	SeqLen    int     // T
	Sequences int     // B
	Inputs    []int32 // (B, T)
	Targets   []int32 // (B, T), the token behind each input

	Rows           []RowRef      // in the order of reading
	RowsDigest     merkle.Digest // step 2: over Rows
	EncodingDigest merkle.Digest // step 3: over the tokens of each row
	TokensDigest   merkle.Digest // step 4: over Inputs and Targets
}

// Tokens is the number of targets, all of which count.
func (w *Work) Tokens() uint64 { return uint64(len(w.Targets)) }

// Slice returns the inputs and targets of the sequences lo to hi-1.
func (w *Work) Slice(lo, hi int) (inputs, targets []int32) {
	return w.Inputs[lo*w.SeqLen : hi*w.SeqLen], w.Targets[lo*w.SeqLen : hi*w.SeqLen]
}

// Load packs the first sequences windows of segments. Each segment is packed by
// itself: its rows in order, the end-of-text token behind each, are cut into
// windows of seqLen inputs, and the targets are the same tokens one further on.
// What is left at the end of a segment is dropped. No row is read beyond the
// one that completes the last window. Segments with too little text are a
// fault.Config error that names what to change.
func Load(ctx context.Context, src Source, tok tokenizer.Tokenizer, segments []Segment, seqLen, sequences int) (*Work, error) {
	if seqLen < 1 || sequences < 1 {
		return nil, fault.Errorf(fault.Config, "%d sequences of %d tokens: both must be 1 or more", sequences, seqLen)
	}
	p := packer{src: src, tok: tok, work: &Work{SeqLen: seqLen}, want: sequences, encoding: sha256.New()}
	p.encoding.Write([]byte("lockstep/encoding/1"))
	for _, s := range segments {
		if err := p.segment(ctx, s); err != nil {
			return nil, err
		}
		if p.work.Sequences == sequences {
			return p.finish(), nil
		}
	}
	return nil, fault.Errorf(fault.Config, "%d segments with %d rows hold %d sequences of %d tokens, %d are owed; lower the quota (--sequences), or raise --segment-rows or --segments",
		len(segments), len(p.work.Rows), p.work.Sequences, seqLen, sequences)
}

// packer is the state of Load.
type packer struct {
	src      Source
	tok      tokenizer.Tokenizer
	work     *Work
	want     int
	encoding hash.Hash
}

// segment packs one segment, or as much of it as is wanted.
func (p *packer) segment(ctx context.Context, s Segment) error {
	t := p.work.SeqLen
	var tokens []int32 // of the segment, from the window that is not full yet
	for row := s.First; row < s.First+s.Rows; row++ {
		ids, err := p.row(ctx, row)
		if err != nil {
			return err
		}
		tokens = append(tokens, ids...)
		for len(tokens) > t {
			p.work.Inputs = append(p.work.Inputs, tokens[:t]...)
			p.work.Targets = append(p.work.Targets, tokens[1:t+1]...)
			tokens = tokens[t:]
			if p.work.Sequences++; p.work.Sequences == p.want {
				return nil
			}
		}
	}
	return nil
}

// row reads and encodes one row.
func (p *packer) row(ctx context.Context, row uint64) ([]int32, error) {
	r, err := p.src.Text(ctx, row)
	if err != nil {
		return nil, err
	}
	p.work.Rows = append(p.work.Rows, RowRef{Row: row, Digest: r.Digest})
	ids := append(p.tok.Encode(r.Text), p.tok.EndOfText())
	var count [4]byte
	binary.LittleEndian.PutUint32(count[:], uint32(len(ids)))
	p.encoding.Write(count[:])
	writeTokens(p.encoding, ids)
	return ids, nil
}

func (p *packer) finish() *Work {
	w := p.work
	w.RowsDigest = RowsDigest(w.Rows)
	w.EncodingDigest = merkle.Digest(p.encoding.Sum(nil))
	w.TokensDigest = tokensDigest(w)
	return w
}

// RowsDigest is SHA-256("lockstep/rows/1" ‖ u64 count ‖ for each u64 row,
// digest).
func RowsDigest(rows []RowRef) merkle.Digest {
	buf := []byte("lockstep/rows/1")
	buf = binary.LittleEndian.AppendUint64(buf, uint64(len(rows)))
	for _, r := range rows {
		buf = binary.LittleEndian.AppendUint64(buf, r.Row)
		buf = append(buf, r.Digest[:]...)
	}
	return sha256.Sum256(buf)
}

// tokensDigest is SHA-256("lockstep/tokens/1" ‖ u64 sequences ‖ u64 seqLen ‖
// inputs ‖ targets), tokens as int32.
func tokensDigest(w *Work) merkle.Digest {
	h := sha256.New()
	head := []byte("lockstep/tokens/1")
	head = binary.LittleEndian.AppendUint64(head, uint64(w.Sequences))
	head = binary.LittleEndian.AppendUint64(head, uint64(w.SeqLen))
	h.Write(head)
	writeTokens(h, w.Inputs)
	writeTokens(h, w.Targets)
	return merkle.Digest(h.Sum(nil))
}

func writeTokens(h hash.Hash, tokens []int32) {
	buf := make([]byte, 0, 4096)
	for len(tokens) > 0 {
		n := min(len(tokens), cap(buf)/4)
		for _, id := range tokens[:n] {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(id))
		}
		h.Write(buf)
		buf, tokens = buf[:0], tokens[n:]
	}
}
