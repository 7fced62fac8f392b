package server

import (
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"lockstep/hub"
)

// download is GET or HEAD of resolve/REVISION/PATH and raw/REVISION/PATH. The
// headers are the same for both methods, and those that name the commit are
// there even when the file is not: clients remember that it is absent.
func (c *call) download(raw bool, revision, file string) {
	ctx := c.r.Context()
	commit, err := c.repo.Resolve(ctx, revision)
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	h := c.w.Header()
	h.Set("X-Repo-Commit", commit.ID)
	files, err := c.repo.List(ctx, commit.ID)
	var info hub.FileInfo
	if err == nil {
		err = &hub.NotFoundError{What: "file", Name: file, Where: c.repo.id()}
		for _, f := range files {
			if f.Path == file {
				info, err = f, nil
			}
		}
	}
	etag := ""
	if err == nil {
		etag, err = c.repo.oid(ctx, info)
	}
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	lfs := isLFS(info.Path, info.Size)
	if raw && lfs {
		c.sendPointer(info)
		return
	}
	if lfs {
		h.Set("X-Linked-Etag", quote(etag))
		h.Set("X-Linked-Size", strconv.FormatInt(info.Size, 10))
	}
	h.Set("Content-Disposition", `inline; filename*=UTF-8''`+escapeName(path.Base(file)))
	c.sendStored(info, etag)
}

// sendPointer answers with what git keeps of a large file.
func (c *call) sendPointer(info hub.FileInfo) {
	id, err := c.repo.blobID(c.r.Context(), info)
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	c.w.Header().Set("ETag", quote(id))
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	http.ServeContent(c.w, c.r, "", time.Time{}, strings.NewReader(pointer(info)))
}

// sendStored answers with content, or ranges of it. Who asks for the headers
// alone does not wait until a large file was compared with its digest.
func (c *call) sendStored(info hub.FileInfo, etag string) {
	if c.r.Method != http.MethodHead {
		if err := c.repo.compare(c.r.Context(), info); err != nil {
			c.failWith(c.w, c.r, err)
			return
		}
	}
	f, err := c.repo.OpenStored(info)
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	defer f.Close()
	h := c.w.Header()
	if etag != "" {
		h.Set("ETag", quote(etag))
	}
	h.Set("Content-Type", "application/octet-stream") // nothing here is a page for a browser
	h.Set("Accept-Ranges", "bytes")
	if info.Size == 0 && c.r.Header.Get("Range") != "" {
		// The standard has no range of nothing; clients probe with bytes=0-0 and
		// read the size here.
		h.Set("Content-Range", "bytes 0-0/0")
	}
	allowWrite(c.w, info.Size)
	http.ServeContent(c.w, c.r, "", time.Time{}, f)
}

// escapeName keeps the characters that RFC 5987 lets stand.
func escapeName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(c)+0x100, 16)[1:]))
		}
	}
	return b.String()
}
