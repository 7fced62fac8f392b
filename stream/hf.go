package stream

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sort"
	"sync"

	"golang.org/x/sync/singleflight"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
	"lockstep/internal/merkle"
	"lockstep/stream/remote"
)

// hubSource is the parquet files of a dataset on the Hub, at one commit. Of a
// file it reads the number of rows when it is opened, the footer when one of
// its rows is asked for the first time, and of a row group the column of texts.
type hubSource struct {
	name     remote.Name // with the commit for its revision
	repo     *remote.Repo
	files    []remote.File
	heads    []head
	ends     []uint64 // rows up to and with each file
	identity merkle.Digest

	client  *httpx.Client
	shelf   *shelf
	slots   chan struct{} // one for each request in flight
	pages   *pageCache
	loader  *loader
	planner *planner

	opening singleflight.Group
	mu      sync.Mutex
	opened  []*hubFile      // used last at the end
	dropped map[int]int     // by file: how often its footer was dropped
	renewed map[int]renewal // by file: the footer that was fetched again
}

// maxOpened is how many files a source knows the pages of, at some 100 bytes a
// row group. The footers of all are in the cache.
const maxOpened = 64

// openHub opens hf://datasets/OWNER/NAME@REVISION/PATH.
func (r Remote) openHub(ctx context.Context, name string) (_ Source, err error) {
	n, err := remote.ParseName(name)
	if err != nil {
		return nil, err
	}
	r = r.filled()
	client, err := r.client(r.Endpoint, r.Token)
	if err != nil {
		return nil, err
	}
	cache, err := r.cache()
	if err != nil {
		return nil, err
	}
	s := &hubSource{
		name: n, client: client, shelf: cache, dropped: map[int]int{}, renewed: map[int]renewal{},
		slots: make(chan struct{}, r.Requests), pages: &pageCache{budget: pageCacheBytes},
	}
	s.loader = newLoader(r.Memory, s.fetch)
	s.planner = &planner{loader: s.loader, locate: s.locate, key: s.keyOf, workers: r.Requests}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.pin(ctx); err != nil {
		return nil, err
	}
	if err := s.index(ctx, r.Progress); err != nil {
		return nil, err
	}
	total := uint64(0)
	for _, h := range s.heads {
		if h.Rows > maxRows-total {
			s.recount(s.files...)
			return nil, fault.Errorf(fault.Damaged, "%s: its files claim more than 2^62 rows", s.name)
		}
		total += h.Rows
		s.ends = append(s.ends, total)
	}
	if total == 0 {
		s.recount(s.files...)
		return nil, noRows(name)
	}
	s.identity = s.digest()
	if r.Steady {
		if err := s.probe(ctx); err != nil {
			return nil, err
		}
		client.Trust()
	}
	return s, nil
}

// probe reads the footer of the first file, so that a run whose files have no
// column of texts is refused before it begins. A footer that is out of reach, or
// that the Hub no longer hands out, is no reason: the rows of the run may be in
// the cache.
func (s *hubSource) probe(ctx context.Context) error {
	_, err := s.file(ctx, 0)
	if fault.KindOf(err) == fault.Damaged || ctx.Err() != nil {
		return err
	}
	return nil
}

// Name is the source's name with the commit in the place of the revision, so
// that the run spec says where the text is to be found.
func (s *hubSource) Name() string { return s.name.String() }

func (s *hubSource) Identity() merkle.Digest { return s.identity }

func (s *hubSource) Rows() uint64 { return s.ends[len(s.ends)-1] }

// digest covers repository, commit, and path, size, content and rows of every
// file.
func (s *hubSource) digest() merkle.Digest {
	buf := []byte("lockstep/source/hf/1")
	text := func(t string) {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(t)))
		buf = append(buf, t...)
	}
	text(s.repo.Name)
	text(s.repo.Commit)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(s.files)))
	for i, f := range s.files {
		text(f.Path)
		buf = binary.LittleEndian.AppendUint64(buf, uint64(f.Size))
		text(f.OID)
		buf = binary.LittleEndian.AppendUint64(buf, s.heads[i].Rows)
	}
	return sha256.Sum256(buf)
}

func (s *hubSource) Text(ctx context.Context, row uint64) (Row, error) {
	if err := checkRow(ctx, s, row); err != nil {
		return Row{}, err
	}
	number, inside := s.find(row)
	for try := 0; ; try++ {
		file, err := s.file(ctx, number)
		if err != nil {
			return Row{}, err
		}
		text, null, err := file.text(ctx, inside)
		if errors.Is(err, errRenewed) && try < maxRenewals {
			continue
		}
		if err != nil {
			return Row{}, err
		}
		return newRow(text, null, s.files[number].Path, inside), nil
	}
}

// find returns the file that holds a row, and the row's number in it.
func (s *hubSource) find(row uint64) (number int, inside uint64) {
	number = sort.Search(len(s.ends), func(i int) bool { return row < s.ends[i] })
	return number, row - (s.ends[number] - s.heads[number].Rows)
}

func (s *hubSource) ahead(segments []Segment) { s.planner.ahead(segments) }

// locate is for the planner.
func (s *hubSource) locate(ctx context.Context, row uint64) (c chunk, size int64, next uint64, err error) {
	number, inside := s.find(row)
	file, err := s.file(ctx, number)
	if err != nil {
		return chunk{}, 0, 0, err
	}
	group, at := file.find(inside)
	g := &file.column.Groups[group]
	return chunk{number, group}, g.End - g.Start, row + uint64(g.Rows-at), nil
}

// keyOf is the key of a chunk in the cache.
func (s *hubSource) keyOf(ctx context.Context, c chunk) (string, error) {
	file, err := s.file(ctx, c.file)
	if err == nil && c.part >= len(file.column.Groups) {
		err = errRenewed
	}
	if err != nil {
		return "", err
	}
	return s.columnKey(s.files[c.file], file, c.part), nil
}

// factKeys lists the keys of the index and of the footers that lead to chunks.
func (s *hubSource) factKeys(chunks []wanted) []string {
	keys := []string{s.listKey()}
	seen := map[int]bool{}
	for _, c := range chunks {
		if !seen[c.file] {
			seen[c.file] = true
			keys = append(keys, s.footerKey(s.files[c.file]))
		}
	}
	return keys
}

// file returns an opened file. Whoever asks first reads the footer for all.
func (s *hubSource) file(ctx context.Context, number int) (*hubFile, error) {
	if f := s.known(number); f != nil {
		return f, nil
	}
	answer := s.opening.DoChan(s.files[number].Path, func() (any, error) {
		if f := s.known(number); f != nil {
			return f, nil
		}
		return s.openFile(s.loader.ctx, number)
	})
	select {
	case a := <-answer:
		if a.Err != nil {
			return nil, a.Err
		}
		return a.Val.(*hubFile), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *hubSource) known(number int) *hubFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.opened, func(f *hubFile) bool { return f.number == number })
	if i < 0 {
		return nil
	}
	f := s.opened[i]
	s.opened = append(slices.Delete(s.opened, i, i+1), f)
	return f
}

// Close ends what is under way and frees the memory.
func (s *hubSource) Close() error {
	s.loader.close()
	s.client.Close()
	s.pages.clear()
	return nil
}

// offline says whether err is the lack of something in the cache while the
// network may not be used.
func offline(err error) bool { return errors.Is(err, httpx.ErrOffline) }

// unreachable says whether a server gave no answer of use, whatever it was asked.
func unreachable(err error) bool {
	return fault.KindOf(err) == fault.Network || errors.As(err, new(*httpx.Garbled))
}
