package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
)

// location is where the bytes of a file come from, as far as it is known. The
// Hub answers a request for a large file with a signed address elsewhere, good
// for some time and for many requests.
type location struct {
	address string // the last redirect's; "" before the first, and once it expired
	host    string // of the last redirect, also once it expired
	etag    string // of the bytes, as first seen; every later answer must have it
	direct  bool   // the Hub hands the bytes out itself, and the ETag is its own
}

// maxHops is how many redirects lead to a file at the most.
const maxHops = 5

// renewals is how many times in a row a signed address may turn out to be
// expired.
const renewals = 3

// progress is how many bytes make a server that breaks off one that works: with
// fewer, its answers count as failed tries.
const progress = 64 << 10

// Range returns n bytes of a file from offset. An answer that breaks off is
// taken up where it ended, an expired address is asked for again, and so is one
// that leads to something else than bytes, all with the client's patience. Bytes
// of another file than the listed one, by length or ETag, are a *ChangedError.
func (r *Repo) Range(ctx context.Context, f File, offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 || offset > f.Size-n {
		return nil, fault.Errorf(fault.Damaged, "%s: bytes %d to %d of a file of %d", f.Path, offset, offset+n, f.Size)
	}
	fetch := &fetch{repo: r, file: f, offset: offset, last: offset + n - 1}
	tries, worked := r.client.Tries(), 0 // bytes that were there at the last progress
	hops, expired := 0, 0
	for int64(len(fetch.buf)) < n {
		before := len(fetch.buf)
		err := fetch.request(ctx)
		if err == nil && len(fetch.buf) == before { // a redirect
			if hops++; hops > maxHops {
				err = fetch.astray(fetch.garbled("more than %d redirects", maxHops))
			}
		}
		var astray *astrayError
		switch {
		case fetch.expired(err):
			if expired++; expired > renewals {
				return nil, err
			}
			r.forget(f)
			hops = 0
		case errors.As(err, &astray):
			r.forget(f)
			hops = 0
			if err := tries.Failed(ctx, r.address(f), astray.garbled); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, fetch.explain(err)
		case len(fetch.buf) > before:
			hops, expired = 0, 0
			if len(fetch.buf)-worked >= progress {
				tries.Progress()
				worked = len(fetch.buf)
			}
			if got := int64(len(fetch.buf)); got < n {
				if err := tries.Failed(ctx, r.address(f), fmt.Errorf("the answers break off, and %d of %d bytes are there", got, n)); err != nil {
					return nil, err
				}
			}
		}
	}
	return fetch.buf, nil
}

// address is where the Hub hands out a file.
func (r *Repo) address(f File) string {
	return bareEndpoint(r.client) + "/datasets/" + r.Name + "/resolve/" + r.Commit + "/" + escapePath(f.Path)
}

// place returns what is known of a file's location.
func (r *Repo) place(f File) location {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.places[f.Path]; l != nil {
		return *l
	}
	return location{}
}

// change updates what is known of a file's location.
func (r *Repo) change(f File, update func(*location)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.places[f.Path] == nil {
		r.places[f.Path] = new(location)
	}
	update(r.places[f.Path])
}

// forget drops a signed address. The ETag stays: the renewed one must lead to
// the same bytes.
func (r *Repo) forget(f File) { r.change(f, func(l *location) { l.address = "" }) }

// fetch is one call of Range.
type fetch struct {
	repo   *Repo
	file   File
	offset int64
	last   int64  // byte of the range
	buf    []byte // what is there of it
	signed bool   // the last request went to a redirect's address
}

// request asks for what is missing. After a redirect, err is nil and nothing
// more is there.
func (f *fetch) request(ctx context.Context) error {
	place := f.repo.place(f.file)
	first, last := f.offset+int64(len(f.buf)), f.last
	header := http.Header{
		"Range":           {fmt.Sprintf("bytes=%d-%d", first, last)},
		"Accept-Encoding": {"identity"},
	}
	f.signed = place.address != ""
	address := f.repo.address(f.file)
	if f.signed {
		address = place.address
	}
	if place.etag != "" && (f.signed || place.direct) {
		header.Set("If-Match", place.etag)
	}
	return f.repo.client.Do(ctx, httpx.Request{URL: address, Header: header, Stay: true}, func(answer *http.Response) error {
		if answer.StatusCode/100 == 3 {
			return f.astray(f.redirect(answer))
		}
		if err := f.check(answer, first, last); err != nil {
			return f.astray(err)
		}
		return f.read(answer, last-first+1)
	})
}

// redirect notes where the file is handed out, after a look at what the Hub
// says of it.
func (f *fetch) redirect(answer *http.Response) error {
	if err := f.checkHub(answer); err != nil {
		return err
	}
	next, err := answer.Location()
	if err != nil {
		return f.garbled("a redirect to nowhere: %w", err)
	}
	if next.Scheme != "https" && next.Scheme != answer.Request.URL.Scheme || next.Host == "" {
		return f.garbled("a redirect to %s://%s is not followed", next.Scheme, next.Host)
	}
	vouched := answer.Header.Get("X-Linked-Etag") != ""
	f.repo.change(f.file, func(l *location) {
		if vouched && l.host != next.Host {
			l.etag = "" // another store names the same bytes in its own way
		}
		l.address, l.host = next.String(), next.Host
	})
	return nil
}

// checkHub compares the Hub's own headers with the listing.
func (f *fetch) checkHub(answer *http.Response) error {
	h := answer.Header
	if commit := h.Get("X-Repo-Commit"); commit != "" && commit != f.repo.Commit {
		return f.changed(fmt.Sprintf("it comes from commit %.40s", commit))
	}
	if size := h.Get("X-Linked-Size"); size != "" && size != strconv.FormatInt(f.file.Size, 10) {
		return f.changed(fmt.Sprintf("its size is %.20s, not %d", size, f.file.Size))
	}
	etag := h.Get("X-Linked-Etag")
	if etag == "" && !f.signed && answer.StatusCode/100 == 2 {
		etag = h.Get("ETag")
	}
	if etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`); contents.MatchString(etag) && etag != f.file.OID {
		return f.changed(fmt.Sprintf("its digest is %s, not %s", etag, f.file.OID))
	}
	return nil
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18})$`)

// check refuses an answer that is not the range first to last, or a head of it,
// of the listed file.
func (f *fetch) check(answer *http.Response, first, last int64) error {
	if err := f.checkHub(answer); err != nil {
		return err
	}
	h := answer.Header
	if e := h.Get("Content-Encoding"); e != "" && e != "identity" {
		return f.garbled("the answer is packed with %.20s, which nobody asked for", e)
	}
	var from, to, size int64
	if m := contentRange.FindStringSubmatch(h.Get("Content-Range")); answer.StatusCode == http.StatusPartialContent && m != nil {
		from, to, size = number(m[1]), number(m[2]), number(m[3])
	} else if whole := first == 0 && last == f.file.Size-1; whole && answer.StatusCode == http.StatusOK && answer.ContentLength != 0 && !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		from, to, size = 0, last, answer.ContentLength
	} else {
		return f.garbled("status %d, type %.60q, range %.60q came where bytes %d to %d belong; does this server serve ranges, and does the network want a login first?",
			answer.StatusCode, h.Get("Content-Type"), h.Get("Content-Range"), first, last)
	}
	switch {
	case size != f.file.Size && size >= 0:
		return f.changed(fmt.Sprintf("its size is %d, not %d", size, f.file.Size))
	case from != first || to < from || to > last || answer.ContentLength >= 0 && answer.ContentLength != to-from+1:
		return f.garbled("bytes %d to %d, %d in number, came where %d to %d belong", from, to, answer.ContentLength, first, last)
	}
	return f.checkETag(h.Get("ETag"))
}

// checkETag remembers the first ETag, and refuses another one. Weak ones say
// nothing about bytes.
func (f *fetch) checkETag(etag string) error {
	if etag == "" || strings.HasPrefix(etag, "W/") {
		return nil
	}
	known := ""
	f.repo.change(f.file, func(l *location) {
		if l.etag == "" {
			l.etag, l.direct = etag, !f.signed
		}
		known = l.etag
	})
	if known != etag {
		return f.changed(fmt.Sprintf("its ETag was %.80s and is %.80s", known, etag))
	}
	return nil
}

// read takes up to want bytes, and memory for them as they come. What came
// before an answer broke off counts; the error is nil then, for the next request
// goes on from there.
func (f *fetch) read(answer *http.Response, want int64) error {
	before := len(f.buf)
	for want > 0 {
		step := int(min(want, max(int64(len(f.buf)), progress)))
		f.buf = slices.Grow(f.buf, step)
		n, err := io.ReadFull(answer.Body, f.buf[len(f.buf):len(f.buf)+step])
		f.buf = f.buf[:len(f.buf)+n]
		want -= int64(n)
		if err != nil && len(f.buf) > before {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// garbled is an answer that is no part of a file.
func (f *fetch) garbled(format string, args ...any) error {
	return &httpx.Garbled{Err: fault.Errorf(fault.Network, "%s: "+format, append([]any{f.repo.address(f.file)}, args...)...)}
}

// astrayError is a garbled answer from the address of a redirect, be it bytes or
// one more redirect, or one redirect too many: a network with a login may have sent us there, so the Hub has to be
// asked again.
type astrayError struct{ garbled *httpx.Garbled }

func (e *astrayError) Error() string { return e.garbled.Error() }
func (e *astrayError) Unwrap() error { return e.garbled.Err }

// astray turns a garbled answer of a redirect's address into an *astrayError, if
// its host or the Hub is believed.
func (f *fetch) astray(err error) error {
	var garbled *httpx.Garbled
	client := f.repo.client
	if f.signed && errors.As(err, &garbled) && (client.Believed(client.Endpoint.Host) || client.Believed(f.repo.place(f.file).host)) {
		return &astrayError{garbled}
	}
	return err
}

// expired says whether err is what a signed address answers when its time is
// over. A precondition that fails is no such thing.
func (f *fetch) expired(err error) bool {
	var e *httpx.Error
	gone := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone}
	return f.signed && errors.As(err, &e) && slices.Contains(gone, e.Status)
}

// explain says what a failed precondition means.
func (f *fetch) explain(err error) error {
	var e *httpx.Error
	if errors.As(err, &e) && e.Status == http.StatusPreconditionFailed {
		return f.changed("its ETag is no longer " + f.repo.place(f.file).etag)
	}
	return err
}

func (f *fetch) changed(how string) error {
	return &ChangedError{URL: f.repo.address(f.file), How: how}
}

// ChangedError is a file that is not, or no longer, what the listing says.
type ChangedError struct{ URL, How string }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s: the file is not the one of this commit: %s; a commit's files never change, so the server or a mirror before it is at fault", e.URL, e.How)
}

// Fault is Damaged: trying again would train on other text.
func (e *ChangedError) Fault() fault.Kind { return fault.Damaged }

// number parses digits that a pattern has counted.
func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
