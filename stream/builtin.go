package stream

import (
	"context"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/stream/corpus"
)

// BuiltinName is the name of the corpus inside the program, for Open.
const BuiltinName = "builtin"

// isBuiltin accepts the name with its version too.
func isBuiltin(name string) bool { return name == BuiltinName || name == corpus.Name }

// builtin is the corpus inside the program.
type builtin struct{}

func (builtin) Name() string            { return corpus.Name }
func (builtin) Identity() merkle.Digest { return corpus.Identity() }
func (builtin) Rows() uint64            { return corpus.Rows }
func (builtin) Close() error            { return nil }

func (b builtin) Text(ctx context.Context, row uint64) (Row, error) {
	if err := checkRow(ctx, b, row); err != nil {
		return Row{}, err
	}
	return newRow(corpus.Text(row), false, corpus.Name, row), nil
}

// corpusFile is the corpus as a file, for Check.
type corpusFile struct{}

func (corpusFile) rows() uint64          { return corpus.Rows }
func (corpusFile) size() int64           { return 0 }
func (corpusFile) digest() merkle.Digest { return corpus.Identity() }

func (corpusFile) text(_ context.Context, row uint64) (string, bool, error) {
	return corpus.Text(row), false, nil
}

// checkRow is the head of every Text.
func checkRow(ctx context.Context, s Source, row uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if row >= s.Rows() {
		return fault.Errorf(fault.Config, "row %d: the %s source has rows 0 to %d", row, s.Name(), s.Rows()-1)
	}
	return nil
}
