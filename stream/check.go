package stream

import (
	"cmp"
	"context"
	"math/bits"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/stream/corpus"
	"lockstep/stream/tokenizer"
)

// Counts is what rows hold.
type Counts struct {
	Rows       uint64 `json:"rows"`
	Empty      uint64 `json:"empty"`
	Null       uint64 `json:"null"`
	NotUTF8    uint64 `json:"not_utf8"`
	Unreadable uint64 `json:"unreadable"` // rows behind damage
	Bytes      uint64 `json:"bytes"`
	Tokens     uint64 `json:"tokens"` // with one end-of-text each
}

func (c *Counts) add(d Counts) {
	c.Rows += d.Rows
	c.Empty += d.Empty
	c.Null += d.Null
	c.NotUTF8 += d.NotUTF8
	c.Unreadable += d.Unreadable
	c.Bytes += d.Bytes
	c.Tokens += d.Tokens
}

// FileReport is what Check found in one file.
type FileReport struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Counts
	Damage string `json:"damage,omitempty"` // the first, by row
}

// Report is what Check found in a source.
type Report struct {
	Source   string        `json:"source"`
	Identity merkle.Digest `json:"identity"` // zero if a file could not be opened
	Files    []FileReport  `json:"files"`
	Total    Counts        `json:"total"`
	Damaged  int           `json:"damaged"` // files
}

// Err is nil for a sound source, else a fault.Damaged error that names the
// first damaged file.
func (r *Report) Err() error {
	for _, f := range r.Files {
		if f.Damage != "" {
			return fault.Errorf(fault.Damaged, "%d of %d files are damaged; the first: %s", r.Damaged, len(r.Files), f.Damage)
		}
	}
	return nil
}

// CheckOptions bounds the work of Check. The zero value checks everything on
// this machine, and a sample of what is not.
type CheckOptions struct {
	Rows     uint64                   // at most so many rows of each local file, 0 means all; of a remote source, in all (8)
	Progress func(file string, n int) // called with the rows read since the last call
	Remote   Remote                   // how text elsewhere is reached
}

// remoteSample is how many rows of a remote source are checked unless more are
// asked for: each may cost a footer and a row group, together some 10 MB.
const remoteSample = 8

// Check reads every row of a source, encodes it and counts what it finds.
// Unlike Open it goes on behind a damaged file, so that one run finds them all.
// Of a remote source it reads rows that are spread evenly. The error is of
// names, of the file system, of the network and of ctx, never of damage: that is
// in the report.
func Check(ctx context.Context, name string, tok tokenizer.Tokenizer, o CheckOptions) (*Report, error) {
	if isBuiltin(name) {
		report := &Report{Source: corpus.Name, Identity: corpus.Identity()}
		f := FileReport{Name: corpus.Name}
		err := checkRows(ctx, &f, corpusFile{}, tok, o)
		report.add(f)
		return report, err
	}
	if strings.Contains(name, "://") {
		return checkRemote(ctx, name, tok, o)
	}
	listed, err := list(name)
	if err != nil {
		return nil, err
	}
	sound := &folder{pages: &pageCache{budget: pageCacheBytes}}
	report := &Report{Source: kindOfAll(listed)}
	for _, l := range listed {
		f := FileReport{Name: l.name}
		r, err := openFile(ctx, l, sound.pages)
		switch {
		case err == nil:
			sound.add(l, r)
			f.Size = r.size()
			err = checkRows(ctx, &f, r, tok, o)
		case fault.KindOf(err) == fault.Damaged:
			f.Damage, err = err.Error(), nil
		}
		if err != nil {
			return nil, err
		}
		report.add(f)
	}
	if len(sound.files) == len(listed) {
		if sound.Rows() == 0 {
			return nil, noRows(name)
		}
		report.Identity = sound.digest()
	}
	return report, nil
}

// checkRemote checks n rows of a remote source: row i·rows/n, rounded down, for
// each i below n.
func checkRemote(ctx context.Context, name string, tok tokenizer.Tokenizer, o CheckOptions) (*Report, error) {
	src, err := o.Remote.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	report := &Report{Source: src.Name(), Identity: src.Identity()}
	n := min(cmp.Or(o.Rows, remoteSample), src.Rows())
	i, at := uint64(0), uint64(0) // at is the row of i
	for _, file := range Files(src) {
		picked := sample{src: src}
		for ; i < n && at < file.First+file.Rows; at = spread(i, src.Rows(), n) {
			picked.numbers = append(picked.numbers, at)
			i++
		}
		if len(picked.numbers) == 0 {
			continue
		}
		f := FileReport{Name: file.Name, Size: file.Size}
		if err := checkRows(ctx, &f, picked, tok, CheckOptions{Progress: o.Progress}); err != nil {
			return nil, err
		}
		report.add(f)
	}
	return report, nil
}

// spread is i·rows/n for i up to n.
func spread(i, rows, n uint64) uint64 {
	hi, lo := bits.Mul64(i, rows)
	quotient, _ := bits.Div64(hi, lo, n)
	return quotient
}

// sample is some rows of a source, for checkRows.
type sample struct {
	src     Source
	numbers []uint64
}

func (s sample) rows() uint64          { return uint64(len(s.numbers)) }
func (s sample) size() int64           { return 0 }
func (s sample) digest() merkle.Digest { return merkle.Digest{} }

// text gives a row's defect back in the form that it came in.
func (s sample) text(ctx context.Context, i uint64) (string, bool, error) {
	row, err := s.src.Text(ctx, s.numbers[i])
	if row.Defect == NotUTF8 {
		return "\xFF", false, err
	}
	return row.Text, row.Defect == Null, err
}

func (r *Report) add(f FileReport) {
	r.Files = append(r.Files, f)
	r.Total.add(f.Counts)
	if f.Damage != "" {
		r.Damaged++
	}
}

// checkBlock is the number of rows that one goroutine takes at a time.
const checkBlock = 64

// checkRows counts the rows of one file on all processors. Only sums and the
// lowest damaged row come out, so the order of work does not show.
func checkRows(ctx context.Context, f *FileReport, r reader, tok tokenizer.Tokenizer, o CheckOptions) error {
	rows := r.rows()
	if o.Rows > 0 {
		rows = min(rows, o.Rows)
	}
	var mu sync.Mutex // guards f and firstBad
	firstBad := rows
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for lo := uint64(0); lo < rows && working.Err() == nil; lo += checkBlock {
		group.Go(func() error {
			hi := min(lo+checkBlock, rows)
			counts, bad, err := countRows(working, r, tok, lo, hi)
			mu.Lock()
			defer mu.Unlock()
			f.add(counts)
			if o.Progress != nil {
				o.Progress(f.Name, int(hi-lo))
			}
			if err == nil || fault.KindOf(err) != fault.Damaged {
				return err
			}
			if bad < firstBad {
				firstBad, f.Damage = bad, err.Error()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// countRows counts the rows lo to hi-1. It returns the first damage and its
// row, and counts on behind it; any other error ends it.
func countRows(ctx context.Context, r reader, tok tokenizer.Tokenizer, lo, hi uint64) (c Counts, bad uint64, first error) {
	for row := lo; row < hi; row++ {
		if err := ctx.Err(); err != nil {
			return c, row, err
		}
		c.Rows++
		text, null, err := r.text(ctx, row)
		if err != nil && fault.KindOf(err) != fault.Damaged {
			return c, row, err
		}
		if err != nil {
			c.Unreadable++
			if first == nil {
				bad, first = row, err
			}
			continue
		}
		checked := newRow(text, null, "", row)
		switch checked.Defect {
		case Empty:
			c.Empty++
		case Null:
			c.Null++
		case NotUTF8:
			c.NotUTF8++
		}
		c.Bytes += uint64(len(checked.Text))
		c.Tokens += uint64(len(tok.Encode(checked.Text))) + 1
	}
	return c, bad, first
}
