package server

import (
	"net/http"
	"regexp"
	"strconv"

	"lockstep/hub"
	"lockstep/internal/fault"
)

const (
	maxPreupload  = 1000
	maxUploadBody = 8 << 20
)

// preupload is POST preupload/REVISION: how shall these files be sent, and what
// is at their places now?
func (c *call) preupload(revision string) {
	var q struct {
		Files []struct {
			Path string
			Size int64
		}
	}
	if !c.mayWrite() || !readJSON(c.w, c.r, maxUploadBody, &q) {
		return
	}
	if len(q.Files) > maxPreupload {
		fail(c.w, c.r, http.StatusRequestEntityTooLarge, "", "%d files, at most %d are answered at once", len(q.Files), maxPreupload)
		return
	}
	files, err := c.repo.List(c.r.Context(), revision)
	if err != nil {
		c.failWith(c.w, c.r, err)
		return
	}
	have := make(map[string]hub.FileInfo, len(files))
	for _, f := range files {
		have[f.Path] = f
	}
	type mode struct {
		Path   string `json:"path"`
		Mode   string `json:"uploadMode"`
		Ignore bool   `json:"shouldIgnore"`
		OID    string `json:"oid,omitempty"`
	}
	modes := make([]mode, 0, len(q.Files))
	inline := insistsOnXet(c.r.UserAgent())
	for _, f := range q.Files {
		if err := hub.CheckPath(f.Path); err != nil || f.Size < 0 || f.Size > c.options.MaxObject {
			fail(c.w, c.r, http.StatusBadRequest, "", "%q with %d bytes cannot be uploaded: %v", clip(f.Path), f.Size, reason(err))
			return
		}
		m := mode{Path: f.Path, Mode: "regular"}
		if isLFS(f.Path, f.Size) && !(inline && f.Size <= c.options.MaxInline) {
			m.Mode = "lfs"
		}
		if old, ok := have[f.Path]; ok {
			if m.OID, err = c.uploadOID(m.Mode, old); err != nil {
				c.failWith(c.w, c.r, err)
				return
			}
		}
		modes = append(modes, m)
	}
	writeJSON(c.w, map[string]any{"files": modes})
}

// uploadOID is the digest of the present file that a client compares with its
// own: which one depends on how the new file would be sent.
func (c *call) uploadOID(mode string, old hub.FileInfo) (string, error) {
	if mode == "lfs" {
		return old.SHA256.String(), nil
	}
	return c.repo.gitBlob(c.r.Context(), old)
}

func reason(err error) error {
	if err == nil {
		return fault.Errorf(fault.Usage, "the size is not allowed")
	}
	return err
}

func clip(s string) string { return s[:min(len(s), 80)] }

var hubVersion = regexp.MustCompile(`\bhf_hub/(\d{1,4})\.(\d{1,4})`)

// insistsOnXet reports whether a client may upload large files by Xet without
// asking. huggingface_hub does so from 1.20 on where its Xet library is
// installed, which it does not tell.
func insistsOnXet(agent string) bool {
	m := hubVersion.FindStringSubmatch(agent)
	if m == nil {
		return false
	}
	major, _ := strconv.Atoi(m[1]) // digits only
	minor, _ := strconv.Atoi(m[2])
	return major > 1 || major == 1 && minor >= 20
}
