package stream

import (
	"context"

	"lockstep/internal/merkle"
	"lockstep/stream/tokenizer"
)

// Shown is one row as a person looks at it.
type Shown struct {
	Row    uint64        `json:"row"`
	File   string        `json:"file"`
	Number uint64        `json:"row_in_file"`
	Digest merkle.Digest `json:"digest"`
	Defect string        `json:"defect,omitempty"` // empty for a row that is intact
	Text   string        `json:"text"`
	Tokens []int32       `json:"tokens"` // without end-of-text
	Pieces [][]byte      `json:"-"`      // the bytes of each token
}

// Show reads one row and encodes it.
func Show(ctx context.Context, src Source, tok tokenizer.Tokenizer, row uint64) (*Shown, error) {
	r, err := src.Text(ctx, row)
	if err != nil {
		return nil, err
	}
	s := &Shown{Row: row, File: r.File, Number: r.Number, Digest: r.Digest, Text: r.Text, Tokens: tok.Encode(r.Text)}
	if r.Defect != Intact {
		s.Defect = r.Defect.String()
	}
	for i := range s.Tokens {
		piece, err := tok.Decode(s.Tokens[i : i+1])
		if err != nil {
			return nil, err
		}
		s.Pieces = append(s.Pieces, piece)
	}
	return s, nil
}
