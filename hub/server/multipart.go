package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"lockstep/hub"
)

const (
	uploadsDir = "uploads"
	maxParts   = 10_000
	// abandoned is the age at which parts of an upload that was never finished
	// are cleared away: their addresses are no longer good by then.
	abandoned = 2 * uploadTime
)

// parts is how many parts of a size an object has.
func parts(size, part int64) int64 { return (size + part - 1) / part }

// partsFolder holds the parts of one object while they come in.
func (c *call) partsFolder(o hub.FileInfo) string {
	return filepath.Join(c.root, uploadsDir, c.repo.kind+"--"+c.repo.owner+"--"+c.repo.name+"--"+o.SHA256.String())
}

// partLength is the length of part n, counted from 1; ok says that there is one.
func partLength(size, part, n int64) (length int64, ok bool) {
	if part < 1 || n < 1 || n > parts(size, part) || n > maxParts {
		return 0, false
	}
	return min(part, size-(n-1)*part), true
}

// lfsPart stores one part. Sent twice, the last one counts.
func (c *call) lfsPart(o hub.FileInfo, q url.Values) {
	part, _ := strconv.ParseInt(q.Get("size"), 10, 64) // signed by us
	n, _ := strconv.ParseInt(q.Get("number"), 10, 64)
	length, ok := partLength(o.Size, part, n)
	if !ok || c.r.ContentLength >= 0 && c.r.ContentLength != length {
		fail(c.w, c.r, http.StatusBadRequest, "", "part %d has %d bytes, %d are sent", n, length, c.r.ContentLength)
		return
	}
	folder := c.partsFolder(o)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	if err := hub.RequireSpace(folder, length); err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	if err := writePart(folder, n, length, c.r.Body); err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	c.w.Header().Set("ETag", quote(strconv.FormatInt(n, 10)))
	c.w.WriteHeader(http.StatusOK)
}

func partFile(folder string, n int64) string {
	return filepath.Join(folder, fmt.Sprintf("%05d", n))
}

// writePart needs no sync: parts are read and hashed before anything is
// acknowledged for good.
func writePart(folder string, n, length int64, from io.Reader) error {
	f, err := os.CreateTemp(folder, "part-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	got, err := io.Copy(f, io.LimitReader(from, length+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && got != length {
		err = &hub.ContentError{Path: fmt.Sprintf("part %d", n), Why: fmt.Sprintf("%d bytes instead of %d", got, length)}
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), partFile(folder, n))
}

// lfsComplete puts the parts together. An object that is stored already is
// done: the answer to an earlier request was lost.
func (c *call) lfsComplete(o hub.FileInfo, q url.Values) {
	var body struct{ Parts []struct{ PartNumber int64 } }
	if !readJSON(c.w, c.r, maxLFSBody, &body) {
		return
	}
	folder := c.partsFolder(o)
	part, _ := strconv.ParseInt(q.Get("size"), 10, 64) // signed by us
	size, ok, err := c.repo.Renew(c.r.Context(), o.SHA256)
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	if !ok || size != o.Size {
		count := parts(o.Size, part)
		if int64(len(body.Parts)) != count {
			fail(c.w, c.r, http.StatusBadRequest, "", "%d parts are named, the object has %d", len(body.Parts), count)
			return
		}
		if !c.store(o, &partsReader{folder: folder, count: count}) {
			return
		}
	}
	_ = os.RemoveAll(folder) // clearUploads comes by again
	writeJSON(c.w, map[string]any{"oid": o.SHA256.String(), "size": o.Size})
}

// partsReader reads the parts end to end.
type partsReader struct {
	folder  string
	count   int64
	next    int64
	current *os.File
}

func (p *partsReader) Read(b []byte) (int, error) {
	for {
		if p.current == nil {
			if p.next == p.count {
				return 0, io.EOF
			}
			p.next++
			f, err := os.Open(partFile(p.folder, p.next))
			if isMissing(err) {
				err = &hub.ContentError{Path: fmt.Sprintf("part %d", p.next), Why: "it was not uploaded"}
			}
			if err != nil {
				return 0, err
			}
			p.current = f
		}
		n, err := p.current.Read(b)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		p.current.Close()
		p.current = nil
	}
}

// clearUploads removes what uploads that nobody finished have left, and views
// that nobody has used.
func clearUploads(root string, now time.Time) error {
	for _, dir := range []string{uploadsDir, viewsDir} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			info, err := e.Info()
			if err == nil && now.Sub(info.ModTime()) > abandoned {
				err = os.RemoveAll(filepath.Join(root, dir, e.Name()))
			}
			if err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}
