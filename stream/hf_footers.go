package stream

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"lockstep/internal/merkle"
	"lockstep/stream/parquet"
	"lockstep/stream/remote"
)

// footer is what is kept of a file's footer: of FineWeb's, with statistics of
// nine columns, about a hundredth.
type footer struct {
	Digest merkle.Digest   `json:"digest"` // SHA-256 of the file from the footer on
	Column *parquet.Column `json:"column"`
}

func (s *hubSource) footerKey(f remote.File) string { return s.fileKey("footer/1", f) }

// hubFile is a file of the Hub whose footer was read.
type hubFile struct {
	*parquetFile
	number  int
	dropped int // how often its footer was, when the reading of this one began
}

// renewal is a footer that was fetched again, in the place of one in doubt.
type renewal struct {
	digest merkle.Digest
	alike  bool // it was no other: what came twice alike is right
}

// openFile reads the footer of a file, and cuts it down to the column of texts.
// One that is not the renewed one is fetched once more, and the last that came
// takes its place.
func (s *hubSource) openFile(ctx context.Context, number int) (*hubFile, error) {
	f := s.files[number]
	s.mu.Lock()
	dropped := s.dropped[number]
	renewed, doubt := s.renewed[number]
	s.mu.Unlock()
	kept, ok := s.keptFooter(number)
	fetched := 0
	for ; fetched < 2 && (!ok || doubt && kept.Digest != renewed.digest); fetched++ {
		var err error
		if kept, err = s.askFooter(ctx, number); err != nil {
			return nil, err
		}
		ok = true
	}
	p := newParquetFile(s.path(f), f.Size, kept.Digest, kept.Column, s.pages)
	p.chunk = func(ctx context.Context, group int) (parquet.Blob, error) {
		g := &p.column.Groups[group]
		data, err := s.loader.get(ctx, chunk{number, group}, g.End-g.Start)
		if err == nil && s.outdated(number, p) {
			err = errRenewed
		}
		return window{g.Start, data}, err
	}
	file := &hubFile{p, number, dropped}
	return file, s.keep(file, fetched > 0)
}

// keptFooter returns what the cache has of a footer.
func (s *hubSource) keptFooter(number int) (footer, bool) {
	var kept footer
	data, ok := s.shelf.Get(s.footerKey(s.files[number]))
	ok = ok && json.Unmarshal(data, &kept) == nil && kept.Column != nil && kept.Column.Rows() == s.heads[number].Rows
	return kept, ok
}

// askFooter fetches a footer. One that makes no sense is fetched once more; if
// that is no better, the count of rows may be what is wrong, and is forgotten for
// those who come next.
func (s *hubSource) askFooter(ctx context.Context, number int) (footer, error) {
	f, h := s.files[number], s.heads[number]
	asked, err := s.fetchFooter(ctx, f, h)
	if undecodable(err) {
		asked, err = s.fetchFooter(ctx, f, h)
	}
	if undecodable(err) {
		s.recount(f)
	}
	return asked, err
}

// fetchFooter fetches a footer, which must have as many rows as were counted.
func (s *hubSource) fetchFooter(ctx context.Context, f remote.File, h head) (footer, error) {
	raw, err := s.read(ctx, f, f.Size-parquet.TailSize-h.Footer, h.Footer+parquet.TailSize)
	if err != nil {
		return footer{}, damage(s.path(f), "footer", err)
	}
	column, err := parquet.ParseFooter(raw[:h.Footer], f.Size, textColumn)
	if err != nil {
		return footer{}, damage(s.path(f), "footer", err)
	}
	if n := column.Rows(); n != h.Rows {
		err := fmt.Errorf("it has %d rows, and %d were counted before the source was opened", n, h.Rows)
		return footer{}, &DamageError{File: s.path(f), Place: "footer", Err: err, Advice: adviceCount}
	}
	return footer{sha256.Sum256(raw), column}, nil
}

// keep remembers an opened file, and on disk a footer that was fetched, unless
// the footer was dropped since the reading began: then this one is in doubt too.
func (s *hubSource) keep(file *hubFile, fetched bool) error {
	data, err := json.Marshal(footer{file.footer, file.column})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped[file.number] != file.dropped {
		return nil
	}
	if fetched {
		s.shelf.keep(s.footerKey(s.files[file.number]), data)
	}
	s.opened = slices.DeleteFunc(s.opened, func(o *hubFile) bool { return o.number == file.number })
	if len(s.opened) == maxOpened {
		s.opened = slices.Delete(s.opened, 0, 1)
	}
	s.opened = append(s.opened, file)
	if s.renewed[file.number].digest != file.footer && file.dropped > 0 {
		s.renewed[file.number] = renewal{digest: file.footer}
		s.loader.forget(file.number) // before anybody can ask by this footer
	}
	return nil
}

// errRenewed says that a row group was decoded by another footer than the one
// that the caller holds: look the row up again.
var errRenewed = errors.New("its footer differs from fetch to fetch")

// maxRenewals is how many times in a row a caller looks again.
const maxRenewals = 2

// outdated says whether the footer of a file was fetched again and is another.
func (s *hubSource) outdated(number int, p *parquetFile) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	renewed, ok := s.renewed[number]
	return ok && renewed.digest != p.footer
}

// renew fetches the footer of a file again, which may have led to the wrong
// bytes. A footer that came twice alike is right and is not fetched again.
func (s *hubSource) renew(ctx context.Context, doubted *hubFile) (*hubFile, error) {
	number := doubted.number
	s.mu.Lock()
	renewed := s.renewed[number]
	s.mu.Unlock()
	if renewed.alike && renewed.digest == doubted.footer {
		return doubted, nil
	}
	s.drop(doubted)
	again, err := s.file(ctx, number)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if again.footer == doubted.footer && s.renewed[number].digest == again.footer {
		s.renewed[number] = renewal{again.footer, true}
	}
	return again, nil
}

// drop forgets the footer of a file, in memory, on disk and on its way, unless
// somebody did since this one was asked for.
func (s *hubSource) drop(doubted *hubFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[doubted.number]
	if s.dropped[doubted.number] != doubted.dropped {
		return
	}
	s.dropped[doubted.number]++
	delete(s.renewed, doubted.number)
	s.opened = slices.DeleteFunc(s.opened, func(o *hubFile) bool { return o.number == doubted.number })
	s.opening.Forget(f.Path)
	s.shelf.Remove(s.footerKey(f))
}
