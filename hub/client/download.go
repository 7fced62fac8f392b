package client

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/httpx"
)

// remote is what the server says of a file.
type remote struct {
	commit string
	etag   string
	size   int64
}

// digester is the hash that a blob of this name has.
func digester(etag string, size int64) hash.Hash {
	if len(etag) == sha256.Size*2 {
		return sha256.New()
	}
	return hub.NewGitID(size)
}

// Open implements hub.Repository: the file comes from the cache or into it, and
// is compared with its digest either way. Only where the cache has no links and
// the Hub cannot be asked is there no digest to compare with, and that is told.
func (r *Repo) Open(ctx context.Context, revision, path string) (hub.File, error) {
	if err := hub.CheckPath(path); err != nil {
		return nil, fault.Wrap(fault.Usage, err)
	}
	if r.client.config.Cache == "" {
		return nil, fault.Errorf(fault.Config, "no folder for the cache is set")
	}
	revision = orMain(revision)
	if r.client.config.Offline {
		return r.openCached(ctx, revision, path)
	}
	c := r.cache()
	if isCommit(revision) {
		if c.isAbsent(revision, path) {
			return nil, r.absent(revision, path)
		}
		etag, err := c.etagOf(revision, path)
		if err == nil && etag != "" {
			if f, err := c.openBlob(ctx, etag); err == nil || errors.Is(err, context.Canceled) {
				return f, err
			}
		}
	}
	info, err := r.metadata(ctx, revision, path)
	if err != nil {
		if isCommit(revision) && unanswered(err) && ctx.Err() == nil {
			if f, cerr := r.openCached(ctx, revision, path); cerr == nil {
				r.client.notice(fmt.Sprintf("%s cannot be reached: %s comes from the cache, which has no digest to compare it with", r.client.Endpoint(), path))
				return f, nil
			}
		}
		return nil, err
	}
	f, err := r.bring(ctx, info, path)
	if err != nil {
		return nil, err
	}
	err = c.setRef(revision, info.commit)
	if err == nil {
		err = c.link(ctx, info.commit, path, info.etag)
	}
	if err != nil {
		f.Close()
		return nil, fault.Wrap(fault.Environment, err)
	}
	return f, nil
}

func (r *Repo) absent(revision, path string) error {
	return &hub.NotFoundError{What: "file", Name: path, Where: r.id + ", revision " + revision}
}

// bring opens a file's blob, or the copy of it in the snapshot, and fetches it if
// neither is there with the right bytes.
func (r *Repo) bring(ctx context.Context, info remote, path string) (f hub.File, err error) {
	c := r.cache()
	if f, err = c.openBlob(ctx, info.etag); err == nil {
		return f, nil
	}
	if f, err = openVerified(ctx, c.snapshot(info.commit, path), info.etag); err == nil {
		return f, nil
	}
	err = c.locked(ctx, info.etag, r.client.notice, func(alone bool) error {
		if f, err = c.openBlob(ctx, info.etag); err == nil {
			return nil // another process was faster
		}
		if err := r.fetch(ctx, info, path, alone); err != nil {
			return err
		}
		f, err = c.openBlob(ctx, info.etag)
		return err
	})
	return f, err
}

// openCached opens a file of a snapshot without asking anybody.
func (r *Repo) openCached(ctx context.Context, revision, path string) (hub.File, error) {
	c := r.cache()
	commit := c.ref(revision)
	if commit == "" {
		return nil, &hub.NotFoundError{What: "revision", Name: revision, Where: "the cache's copy of " + r.id}
	}
	if c.isAbsent(commit, path) {
		return nil, r.absent(revision, path)
	}
	etag, err := c.etagOf(commit, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &hub.NotFoundError{What: "file", Name: path, Where: "the cache's copy of " + r.id + ", revision " + revision}
	}
	if err != nil {
		return nil, err
	}
	if etag == "" {
		return openVerified(ctx, c.snapshot(commit, path), "")
	}
	return c.openBlob(ctx, etag)
}

// resolve is the address of a file.
func (r *Repo) resolve(revision, path string) string {
	return r.page() + "/resolve/" + url.PathEscape(revision) + "/" + escapePath(path)
}

// metadata asks for commit, digest and size of a file. On the Hub the answer may
// be a redirect to a storage host, which knows none of them, so that is not
// followed.
func (r *Repo) metadata(ctx context.Context, revision, path string) (remote, error) {
	_, h, err := r.client.probe(ctx, r.resolve(revision, path))
	if err != nil {
		if e := refusal(err); e != nil && e.Code == "EntryNotFound" && isCommit(h.Get("X-Repo-Commit")) {
			_ = r.cache().setAbsent(h.Get("X-Repo-Commit"), path) // spares a question about this commit next time
		}
		return remote{}, notFound(err, r.id, revision, path)
	}
	info := remote{commit: h.Get("X-Repo-Commit"), etag: cleanETag(cmp.Or(h.Get("X-Linked-Etag"), h.Get("ETag")))}
	info.size, err = strconv.ParseInt(cmp.Or(h.Get("X-Linked-Size"), h.Get("Content-Length")), 10, 64)
	switch {
	case !isCommit(info.commit):
		return info, fault.Errorf(fault.Network, "%s: the answer names no commit; is a proxy in between?", r.resolve(revision, path))
	case !isDigest(info.etag):
		return info, fault.Errorf(fault.Network, "%s: the ETag %q is no digest to verify the file with", r.resolve(revision, path), printable(info.etag, 80))
	case err != nil || info.size < 0:
		return info, fault.Errorf(fault.Network, "%s: the answer names no size", r.resolve(revision, path))
	}
	return info, nil
}

func cleanETag(s string) string { return strings.Trim(strings.TrimPrefix(s, "W/"), `"`) }

// probe is a HEAD request whose headers are wanted also when it fails. A
// redirect's own length is not the file's, so it is dropped.
func (k *Client) probe(ctx context.Context, path string) (status int, header http.Header, err error) {
	err = k.repeat(ctx, func() error {
		r, err := k.send(stay(ctx), http.MethodHead, path, "", nil, 0, nil)
		if err != nil {
			return err
		}
		r.Body.Close()
		status, header = r.StatusCode, r.Header
		if status >= 300 && status <= 399 {
			header.Del("Content-Length")
			return nil
		}
		if status != http.StatusOK {
			return httpx.Refusal(http.MethodHead, r)
		}
		return nil
	})
	return status, header, err
}

// fetch brings a file into the cache. What an earlier attempt left is gone on
// with if the caller holds the blob's lock, and so is alone.
func (r *Repo) fetch(ctx context.Context, info remote, path string, alone bool) (err error) {
	c := r.cache()
	if err := hub.RequireSpace(c.path("blobs"), info.size); err != nil {
		return err
	}
	part := c.blob(info.etag) + ".lockstep.incomplete"
	if !alone {
		part = c.blob(info.etag) + "." + randomHex() + ".incomplete"
		defer func() {
			if err != nil {
				os.Remove(part)
			}
		}()
	}
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return fault.Wrap(fault.Environment, err)
	}
	defer f.Close()
	d := &download{ctx: ctx, repo: r, info: info, path: path, file: f, report: r.client.reporter(path, info.size, false)}
	if err := d.resume(); err != nil {
		return err
	}
	resumed := d.at > 0
	if err := d.run(); err != nil {
		return err
	}
	if resumed && hex.EncodeToString(d.hash.Sum(nil)) != info.etag { // what was there was wrong
		if err := errors.Join(d.restart(), d.run()); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(d.hash.Sum(nil)); got != info.etag {
		os.Remove(part)
		return fault.Errorf(fault.Damaged, "%s/%s: the bytes received have the digest %s instead of %s; nothing was kept", r.id, path, got, info.etag)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(part, c.blob(info.etag))
}

// download is a file on its way in: hash covers exactly the at bytes in file.
type download struct {
	ctx    context.Context
	repo   *Repo
	info   remote
	path   string
	file   *os.File
	hash   hash.Hash
	at     int64
	report func(int64)
}

// resume hashes what is there.
func (d *download) resume() error {
	d.hash = digester(d.info.etag, d.info.size)
	n, err := io.Copy(d.hash, contextReader{d.ctx, d.file})
	if err != nil {
		return err
	}
	d.at = n
	if n > d.info.size {
		return d.restart()
	}
	return nil
}

// restart drops what is there.
func (d *download) restart() error {
	d.hash, d.at = digester(d.info.etag, d.info.size), 0
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	_, err := d.file.Seek(0, io.SeekStart)
	return err
}

// run reads until the file is complete. Attempts count anew whenever bytes came:
// what is bounded is failure in a row.
func (d *download) run() error {
	for d.at < d.info.size {
		var inner error
		err := d.repo.client.repeat(d.ctx, func() error {
			before := d.at
			inner = d.get()
			if inner != nil && d.at > before && fault.KindOf(inner) == fault.Network {
				return nil
			}
			return inner
		})
		if err != nil {
			return err
		}
		if inner != nil {
			if err := d.repo.client.config.Backoff.Sleep(d.ctx, d.repo.client.config.Backoff.First); err != nil {
				return err
			}
		}
	}
	return nil
}

// get does one request for what is missing. A signed address that has expired is
// no matter: the way begins at the repository each time.
func (d *download) get() error {
	h := http.Header{}
	if d.at > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", d.at))
	}
	r, err := d.repo.client.send(d.ctx, http.MethodGet, d.repo.resolve(d.info.commit, d.path), "", nil, 0, h)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	switch {
	case r.StatusCode == http.StatusPartialContent && d.at > 0:
		if !strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.at)) {
			return fault.Errorf(fault.Network, "%s: asked for bytes from %d on, got %q", d.path, d.at, printable(r.Header.Get("Content-Range"), 80))
		}
	case r.StatusCode == http.StatusOK: // the server does not know ranges
		if err := d.plausible(r); err != nil {
			return err // before what is there is dropped
		}
		if err := d.restart(); err != nil {
			return err
		}
	default:
		var err error = httpx.Refusal(http.MethodGet, r)
		if !httpx.SameOrigin(r.Request.URL, d.repo.client.endpoint) {
			err = expired(err)
		}
		return err
	}
	return d.copy(r.Body)
}

// plausible refuses a whole answer that comes from elsewhere, such as the login
// page of a network: it has another length or, where none is told, is a web page
// that nobody asked for. A file of the announced length is left to its digest,
// since some servers take a README that begins with a tag for a web page.
func (d *download) plausible(r *http.Response) error {
	asked := strings.HasSuffix(d.path, ".html") || strings.HasSuffix(d.path, ".htm")
	if r.ContentLength == d.info.size || r.ContentLength < 0 && (asked || !httpx.LooksHTML(r.Header, nil)) {
		return nil
	}
	return fault.Errorf(fault.Network, "%s/%s: an answer of type %q instead of the %d bytes of the file: is a proxy or a login page in between?",
		d.repo.id, d.path, printable(r.Header.Get("Content-Type"), 80), d.info.size)
}

func (d *download) copy(from io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := from.Read(buf)
		if int64(n) > d.info.size-d.at {
			return fault.Errorf(fault.Damaged, "%s/%s: more than the %d bytes announced", d.repo.id, d.path, d.info.size)
		}
		if n > 0 {
			if _, werr := d.file.Write(buf[:n]); werr != nil {
				return fault.Wrap(fault.Environment, werr)
			}
			d.hash.Write(buf[:n])
			d.at += int64(n)
			d.report(d.at)
		}
		switch {
		case errors.Is(err, io.EOF) && d.at == d.info.size:
			return nil
		case errors.Is(err, io.EOF):
			return fault.Errorf(fault.Network, "%s/%s: the body ended after %d of %d bytes", d.repo.id, d.path, d.at, d.info.size)
		case err != nil:
			return networkError(d.ctx, http.MethodGet, d.repo.resolve(d.info.commit, d.path), err)
		}
	}
}
