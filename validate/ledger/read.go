package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lockstep/internal/fault"
)

// Torn is an incomplete piece at the very end of a ledger, whose writing was
// cut short. It was never acknowledged, and its entries do not count.
type Torn struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"` // where the good part of the file ends
	Bytes  int64  `json:"bytes"`  // of the torn rest
}

// Report says what a ledger holds.
type Report struct {
	Head
	Files int   `json:"files"`
	Torn  *Torn `json:"torn,omitempty"`
}

// Walk reads the ledger in folder dir from its beginning, checks every link and
// gives each entry to visit, which may be nil; a piece is given once it is
// complete. A torn tail is reported, not an error. Anything else that does not
// fit is a fault.Damaged error that names file, line and offset. A folder that
// is absent or empty is an empty ledger.
func Walk(dir string, visit func(Entry) error) (Report, error) {
	return walk(dir, visit, nil)
}

// walk is Walk, which gives the head after each piece to pass too,
// which may be nil as well.
func walk(dir string, visit func(Entry) error, pass func(Head)) (Report, error) {
	names, err := files(dir)
	if err != nil {
		return Report{}, err
	}
	r := Report{Files: len(names)}
	for i, name := range names {
		w := walker{path: filepath.Join(dir, name), name: name, last: i == len(names)-1, visit: visit, pass: pass}
		if r.Head, r.Torn, err = w.file(r.Head); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Check reads the whole ledger and reports what it holds.
func Check(dir string) (Report, error) { return Walk(dir, nil) }

// HeadAt returns where the ledger ended when it had n entries: the zero Head if
// none of its pieces ends there.
func HeadAt(dir string, n uint64) (at Head, err error) {
	_, err = walk(dir, nil, func(h Head) {
		if h.Entries == n {
			at = h
		}
	})
	return at, err
}

// files lists the ledger's files in the order of their epochs.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".jsonl") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// walker reads one file.
type walker struct {
	path, name string
	last       bool // only the last file may end in a torn piece
	visit      func(Entry) error
	pass       func(Head) // called after each piece; may be nil

	number int   // of the line that comes next, from 1
	offset int64 // where it begins
}

// file opens and reads the file, whose pieces have to follow h.
func (w *walker) file(h Head) (Head, *Torn, error) {
	f, err := os.Open(w.path)
	if err != nil {
		return h, nil, fmt.Errorf("ledger: %w", err)
	}
	defer f.Close()
	return w.pieces(f, h)
}

func (w *walker) pieces(r io.Reader, h Head) (Head, *Torn, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	w.number = 1
	for {
		start := w.offset
		entries, next, err := w.piece(in, h)
		switch {
		case errors.Is(err, errTorn) && w.offset == start:
			return h, nil, nil // the file ends between two pieces
		case errors.Is(err, errTorn) && w.last:
			return h, &Torn{File: w.name, Offset: start, Bytes: w.offset - start}, nil
		case errors.Is(err, errTorn):
			return h, nil, w.damaged(errors.New("the file is cut short, and more files follow"))
		case err != nil:
			return h, nil, w.damaged(err)
		}
		h = next
		if w.pass != nil {
			w.pass(h)
		}
		for _, e := range entries {
			if w.visit == nil {
				break
			}
			if err := w.visit(e); err != nil {
				return h, nil, err
			}
		}
	}
}

// errTorn says that the file ends before the piece does.
var errTorn = errors.New("torn")

// piece reads the entries of one piece. After errTorn, offset is the file's
// size; after another error, the line that is wrong begins there.
func (w *walker) piece(in *bufio.Reader, h Head) (entries []Entry, next Head, err error) {
	due := -1 // entries that have to follow
	for due != 0 {
		b, whole, err := readLine(in)
		if err != nil {
			return nil, h, err
		}
		if !whole {
			w.offset += int64(len(b))
			return nil, h, errTorn
		}
		l, next, err := h.decode(b)
		switch {
		case err != nil:
			return nil, h, err
		case due >= 0 && l.More != due-1:
			return nil, h, fmt.Errorf("entry %d: %d of its piece should follow, not %d", l.Number, due-1, l.More)
		case fileName(l.Epoch) != w.name:
			return nil, h, fmt.Errorf("entry %d of epoch %d belongs to %s", l.Number, l.Epoch, fileName(l.Epoch))
		}
		entries, h, due = append(entries, l.Entry), next, l.More
		w.offset, w.number = w.offset+int64(len(b))+1, w.number+1
	}
	return entries, h, nil
}

func (w *walker) damaged(err error) error {
	return fault.Errorf(fault.Damaged, "ledger %s: line %d at byte %d: %w; restore the file from a copy", w.path, w.number, w.offset, err)
}

// readLine returns the next line without its newline, and whether it had one.
func readLine(in *bufio.Reader) (b []byte, whole bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		b = append(b, part...)
		switch {
		case len(b) > MaxLine:
			return nil, false, fmt.Errorf("longer than %d bytes", MaxLine)
		case err == nil:
			return b[:len(b)-1], true, nil
		case errors.Is(err, io.EOF):
			return b, false, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		}
	}
}
