package ledger

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
)

// Ledger appends entries. It is not safe for concurrent use, and a folder has
// one writer.
type Ledger struct {
	dir    string
	head   Head
	name   string // of the open file; empty while none is
	file   file
	size   int64 // of the open file
	broken error // set where a failed write could not be taken back

	open func(path string) (file, error) // opens for appending; replaced in tests
}

// file is what a ledger needs of an *os.File.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// Open checks the ledger in folder dir, which it creates where it is missing,
// and opens it for appending. A torn tail, which the report names, is cut off.
func Open(dir string) (*Ledger, Report, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, Report{}, fmt.Errorf("ledger: %w", durable.Explain(dir, err))
	}
	r, err := Check(dir)
	if err != nil {
		return nil, r, err
	}
	if t := r.Torn; t != nil {
		if err := os.Truncate(filepath.Join(dir, t.File), t.Offset); err != nil {
			return nil, r, fmt.Errorf("ledger: cut off a torn entry: %w", err)
		}
	}
	return &Ledger{dir: dir, head: r.Head, open: openFile}, r, nil
}

func openFile(path string) (file, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}

// Head returns where the ledger ends.
func (l *Ledger) Head() Head { return l.head }

// Append adds entries in their order and returns once they are on the disk.
// Epochs may not go back. Entries that share a file, all those of one epoch
// among them, are one piece: after a crash or an error either all of them are
// in the ledger or none. An error that calls the ledger unusable leaves that
// open until Open has looked.
func (l *Ledger) Append(entries ...Entry) error {
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && fileName(entries[n].Epoch) == fileName(entries[0].Epoch) {
			n++
		}
		if err := l.appendPiece(entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// appendPiece writes entries that share a file.
func (l *Ledger) appendPiece(entries []Entry) error {
	if l.broken != nil {
		return l.broken
	}
	if len(entries) > MaxPiece {
		return fault.Errorf(fault.Unexpected, "ledger: %d entries at once; at most %d are taken", len(entries), MaxPiece)
	}
	var piece []byte
	head := l.head
	for i, e := range entries {
		b, next, err := head.encode(e, len(entries)-1-i)
		if err != nil {
			return err
		}
		piece, head = append(piece, b...), next
	}
	if err := l.use(fileName(entries[0].Epoch)); err != nil {
		return err
	}
	if err := l.write(piece); err != nil {
		return err
	}
	l.head, l.size = head, l.size+int64(len(piece))
	return nil
}

// write puts the piece on the disk or takes it back.
func (l *Ledger) write(piece []byte) error {
	_, err := l.file.Write(piece)
	if err == nil {
		err = l.file.Sync()
	}
	if err == nil {
		return nil
	}
	err = durable.Explain(filepath.Join(l.dir, l.name), err)
	if undo := l.file.Truncate(l.size); undo != nil {
		l.broken = fmt.Errorf("ledger: %s is unusable until it is opened again: %w", l.name, err)
		return l.broken
	}
	return fmt.Errorf("ledger: append to %s: %w; nothing was added", l.name, err)
}

// use opens the file that entries of the next piece belong to.
func (l *Ledger) use(name string) error {
	if l.name == name {
		return nil
	}
	if err := l.Close(); err != nil {
		return err
	}
	path := filepath.Join(l.dir, name)
	f, err := l.open(path)
	if err != nil {
		return fmt.Errorf("ledger: %w", durable.Explain(path, err))
	}
	info, err := os.Stat(path)
	if err == nil {
		err = durable.SyncDir(l.dir)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("ledger: %w", err)
	}
	l.file, l.name, l.size = f, name, info.Size()
	return nil
}

// Close closes the file. The ledger may be appended to again.
func (l *Ledger) Close() error {
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file, l.name = nil, ""
	if err := f.Close(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}
