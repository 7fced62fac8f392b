package stream

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
	"lockstep/internal/merkle"
	"lockstep/stream/parquet"
	"lockstep/stream/remote"
)

const (
	rowsScheme  = "rows://"
	rowsPage    = 100      // rows of one request, the most that the API gives
	maxRowsPage = 64 << 20 // bytes of an answer
)

// rowsSource is a split of a dataset through the rows API. The API serves the
// newest revision and cannot be pinned to one; a change while the source is open
// is an error.
type rowsSource struct {
	dataset, config, split string
	first                  rowsFacts

	client  *httpx.Client
	shelf   *shelf
	pages   *pageCache
	loader  *loader
	planner *planner
}

// rowsFacts is what must stay the same from answer to answer.
type rowsFacts struct {
	Revision string `json:"revision"` // the header X-Revision; "" where it is not sent
	Rows     uint64 `json:"rows"`
}

// openRows opens rows://OWNER/NAME/CONFIG[/SPLIT].
func (r Remote) openRows(ctx context.Context, name string) (Source, error) {
	parts := strings.Split(strings.TrimPrefix(name, rowsScheme), "/")
	if len(parts) == 3 {
		parts = append(parts, "train")
	}
	if len(parts) != 4 || !remote.ValidRepo(parts[0]+"/"+parts[1]) || parts[2] == "" || parts[3] == "" {
		return nil, fault.Errorf(fault.Config, "data source %q: the form is rows://OWNER/NAME/CONFIG or rows://OWNER/NAME/CONFIG/SPLIT", name)
	}
	r = r.filled()
	client, err := r.client(r.RowsEndpoint, r.rowsToken())
	if err != nil {
		return nil, err
	}
	cache, err := r.cache()
	if err != nil {
		return nil, err
	}
	s := &rowsSource{
		dataset: parts[0] + "/" + parts[1], config: parts[2], split: parts[3],
		client: client, shelf: cache, pages: &pageCache{budget: pageCacheBytes},
	}
	s.loader = newLoader(r.Memory, s.fetch)
	s.planner = &planner{loader: s.loader, locate: s.locate, key: s.keyOf, workers: r.Requests}
	if err := s.look(ctx, r); err != nil {
		s.Close()
		return nil, err
	}
	if r.Steady {
		client.Trust()
	}
	return s, nil
}

// rowsToken is the token, if the rows API belongs to the Hub that it is for:
// both are the public ones, or one server is both.
func (r Remote) rowsToken() string {
	hub, err1 := httpx.ParseEndpoint(r.Endpoint)
	rows, err2 := httpx.ParseEndpoint(r.RowsEndpoint)
	public := r.Endpoint == httpx.DefaultEndpoint && r.RowsEndpoint == DefaultRowsEndpoint
	if err1 == nil && err2 == nil && (public || httpx.SameOrigin(hub, rows)) {
		return r.Token
	}
	return ""
}

// look asks for the first page to see how many rows there are, of what. What the
// cache knows of that serves if the network may not be used, and for a run, which
// would wait for the server anyway, if it cannot be.
func (s *rowsSource) look(ctx context.Context, r Remote) error {
	data, revision, err := s.ask(ctx, 0)
	if err != nil && (offline(err) || unreachable(err)) {
		return s.recall(r, err)
	}
	if err != nil {
		return err
	}
	page, err := parseRows(data, 0)
	if err != nil {
		return fault.Errorf(fault.Damaged, "%s: %w", s.Name(), err)
	}
	if page.Partial {
		return fault.Errorf(fault.Config, "%s: the rows API holds only the beginning of this dataset; use hf://datasets/%s instead", s.Name(), s.dataset)
	}
	s.first = rowsFacts{revision, page.Total}
	if page.Total == 0 || page.Total > maxRows {
		return fault.Errorf(fault.Config, "%s: the source has %d rows", s.Name(), page.Total)
	}
	if facts, err := json.Marshal(s.first); err == nil {
		s.shelf.keep(s.factsKey(), facts)
	}
	s.keep(0, data)
	return nil
}

// recall takes the facts from the cache, or returns why they were not had from
// the server. Facts without a revision are of no use: no page was kept with them.
func (s *rowsSource) recall(r Remote, why error) error {
	kept, ok := s.shelf.Get(s.factsKey())
	var facts rowsFacts
	if !ok || json.Unmarshal(kept, &facts) != nil || facts.Rows == 0 || facts.Rows > maxRows || facts.Revision == "" {
		return why
	}
	if !offline(why) && !r.Steady {
		return fmt.Errorf("%w; it had revision %.40q when it was last seen: set HF_HUB_OFFLINE=1 to use what the cache has of that", why, facts.Revision)
	}
	if !offline(why) && r.Notice != nil {
		r.Notice(fmt.Errorf("%w; going on with revision %.40q from the cache", why, facts.Revision), 0)
	}
	s.first = facts
	return nil
}

// keep puts a page on disk, if it is known what it is a page of.
func (s *rowsSource) keep(number int, data []byte) {
	if s.first.Revision != "" {
		s.shelf.keep(s.pageKey(number), data)
	}
}

// keyOf is the key of a page in the cache.
func (s *rowsSource) keyOf(_ context.Context, c chunk) (string, error) {
	if s.first.Revision == "" {
		return "", fault.Errorf(fault.Config, "%s: the server does not say of which revision its rows are, so they cannot be kept; use hf://datasets/%s instead", s.Name(), s.dataset)
	}
	return s.pageKey(c.part), nil
}

func (s *rowsSource) factsKey() string { return "rows/facts/1 " + s.Name() }

func (s *rowsSource) pageKey(number int) string {
	return fmt.Sprintf("rows/page/1 %s %s %d", s.Name(), s.first.Revision, number)
}

func (s *rowsSource) Name() string {
	return rowsScheme + s.dataset + "/" + s.config + "/" + s.split
}

// Identity covers the name, the revision and the number of rows.
func (s *rowsSource) Identity() merkle.Digest {
	buf := []byte("lockstep/source/rows/1")
	for _, t := range []string{s.dataset, s.config, s.split, s.first.Revision} {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(t)))
		buf = append(buf, t...)
	}
	return sha256.Sum256(binary.LittleEndian.AppendUint64(buf, s.first.Rows))
}

func (s *rowsSource) Rows() uint64 { return s.first.Rows }

func (s *rowsSource) Text(ctx context.Context, row uint64) (Row, error) {
	if err := checkRow(ctx, s, row); err != nil {
		return Row{}, err
	}
	cells, err := s.page(ctx, int(row/rowsPage))
	if err != nil {
		return Row{}, damage(s.Name(), fmt.Sprintf("row %d", row), err)
	}
	c := cells[row%rowsPage]
	return newRow(c.Text, c.Null, s.config+"/"+s.split, row), nil
}

// page returns the texts of a page.
func (s *rowsSource) page(ctx context.Context, number int) ([]parquet.Cell, error) {
	key := pageKey{file: s, group: number}
	if cells, ok, err := s.pages.look(key); ok {
		return cells, err
	}
	data, err := s.loader.get(ctx, chunk{part: number}, rowsGuess)
	if err != nil {
		return nil, err
	}
	return s.pages.get(key, func() ([]parquet.Cell, error) { return s.decode(data, number) })
}

// rowsGuess is the memory that a page is counted with: FineWeb's have some 400 KB.
const rowsGuess = 1 << 20

func (s *rowsSource) ahead(segments []Segment) { s.planner.ahead(segments) }

func (s *rowsSource) locate(_ context.Context, row uint64) (c chunk, size int64, next uint64, err error) {
	number := row / rowsPage
	return chunk{part: int(number)}, rowsGuess, (number + 1) * rowsPage, nil
}

// fetch is for the loader: one page, from the cache or the server. What makes no
// sense is fetched once more, and so is a page of the cache that does not fit: it
// may have been kept when the server knew fewer rows of the same revision.
func (s *rowsSource) fetch(ctx context.Context, c chunk) ([]byte, error) {
	if data, ok := s.shelf.Get(s.pageKey(c.part)); ok && s.first.Revision != "" {
		if _, err := s.decode(data, c.part); err == nil {
			return data, nil
		}
	}
	data, err := s.fetchPage(ctx, c.part)
	if undecodable(err) {
		data, err = s.fetchPage(ctx, c.part)
	}
	if err != nil {
		return nil, err
	}
	s.keep(c.part, data)
	return data, nil
}

// fetchPage asks for a page, which must be whole and of the same revision. One
// that is not whole is a *DamageError.
func (s *rowsSource) fetchPage(ctx context.Context, number int) ([]byte, error) {
	data, revision, err := s.ask(ctx, uint64(number)*rowsPage)
	if err != nil {
		return nil, err
	}
	if revision != s.first.Revision {
		return nil, fault.Errorf(fault.Damaged, "%s changed from revision %.40q to %.40q while it was in use; this API cannot be pinned to one, hf://datasets/%s can",
			s.Name(), s.first.Revision, revision, s.dataset)
	}
	if _, err := s.decode(data, number); err != nil {
		return nil, damage(s.Name(), fmt.Sprintf("page %d", number), err)
	}
	return data, nil
}

// ask fetches a page, and the revision that it is of.
func (s *rowsSource) ask(ctx context.Context, offset uint64) ([]byte, string, error) {
	q := url.Values{"dataset": {s.dataset}, "config": {s.config}, "split": {s.split}, "offset": {fmt.Sprint(offset)}, "length": {fmt.Sprint(rowsPage)}}
	address := strings.TrimRight(s.client.Endpoint.String(), "/") + "/rows?" + q.Encode()
	data, header, err := s.client.JSONBytes(ctx, httpx.Request{URL: address}, maxRowsPage)
	return data, header.Get("X-Revision"), err
}

// decode returns the texts of a page, which must be whole.
func (s *rowsSource) decode(data []byte, number int) ([]parquet.Cell, error) {
	offset := uint64(number) * rowsPage
	page, err := parseRows(data, offset)
	if err != nil {
		return nil, err
	}
	if page.Total != s.first.Rows || page.Partial {
		return nil, fmt.Errorf("the dataset has %d rows and had %d", page.Total, s.first.Rows)
	}
	if want := min(rowsPage, s.first.Rows-offset); uint64(len(page.Cells)) != want {
		return nil, fmt.Errorf("the answer has %d rows, not %d", len(page.Cells), want)
	}
	return page.Cells, nil
}

// rowsAnswer is one page of the rows API.
type rowsAnswer struct {
	Cells   []parquet.Cell
	Total   uint64 // rows of the split
	Partial bool   // the server holds only the beginning
}

// parseRows reads an answer of the rows API whose first row is offset.
func parseRows(data []byte, offset uint64) (*rowsAnswer, error) {
	var a struct {
		Rows []struct {
			Index     *uint64         `json:"row_idx"`
			Row       json.RawMessage `json:"row"`
			Truncated []string        `json:"truncated_cells"`
		} `json:"rows"`
		Total   *uint64 `json:"num_rows_total"`
		Partial bool    `json:"partial"`
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("the answer is not the JSON that belongs there: %w", err)
	}
	if a.Total == nil || a.Rows == nil {
		return nil, errors.New("the answer has no rows, or does not say how many there are")
	}
	page := &rowsAnswer{Total: *a.Total, Partial: a.Partial}
	if len(a.Rows) > rowsPage {
		return nil, fmt.Errorf("%d rows, where %d were asked for", len(a.Rows), rowsPage)
	}
	for i, r := range a.Rows {
		at := offset + uint64(i)
		if r.Index == nil || *r.Index != at {
			return nil, fmt.Errorf("another row stands where row %d belongs", at)
		}
		if len(r.Truncated) > 0 {
			return nil, fmt.Errorf("row %d is cut: %.100q", at, r.Truncated)
		}
		text, null, err := jsonText(r.Row)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", at, err)
		}
		page.Cells = append(page.Cells, parquet.Cell{Text: text, Null: null})
	}
	return page, nil
}

// Close ends what is under way and frees the memory.
func (s *rowsSource) Close() error {
	s.loader.close()
	s.client.Close()
	s.pages.clear()
	return nil
}
