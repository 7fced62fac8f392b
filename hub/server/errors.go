package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"

	"lockstep/hub"
	"lockstep/internal/fault"
)

// Error codes on which clients decide, before they look at the status.
const (
	codeRepo     = "RepoNotFound"
	codeRevision = "RevisionNotFound"
	codeEntry    = "EntryNotFound"
)

// fail answers with an error in body and headers: a HEAD request sees only the
// latter.
func fail(w http.ResponseWriter, r *http.Request, status int, code, format string, args ...any) {
	message := headerText(fmt.Sprintf(format, args...))
	h := w.Header()
	if code != "" {
		h.Set("X-Error-Code", code)
	}
	h.Set("X-Error-Message", message)
	h.Del("ETag")
	h.Del("Content-Disposition")
	body, _ := json.Marshal(map[string]string{"error": message})
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// headerText makes a message fit for a header: printable ASCII on one line.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 1000)]
}

// failWith answers with an error of package hub or of the disk.
func (s *Server) failWith(w http.ResponseWriter, r *http.Request, err error) {
	var missing *hub.NotFoundError
	var moved *hub.HeadMovedError
	var tag *hub.TagExistsError
	var branch *hub.BranchExistsError
	switch {
	case errors.As(err, &missing):
		code := codeRevision
		if missing.What == "file" {
			code = codeEntry
		}
		fail(w, r, http.StatusNotFound, code, "no %s %q", missing.What, missing.Name)
	case errors.As(err, &moved):
		fail(w, r, http.StatusPreconditionFailed, "", "A commit has happened since. Please refresh and try again. (%v)", err)
	case errors.As(err, &tag):
		fail(w, r, http.StatusConflict, "", "Tag reference exists already (%v)", err)
	case errors.As(err, &branch):
		fail(w, r, http.StatusConflict, "", "Reference refs/heads/%s already exists", branch.Branch)
	default:
		fail(w, r, statusOf(err), "", "%s", s.message(err))
	}
}

// message is an error without the folder, which is nobody's business.
func (s *Server) message(err error) string { return strings.ReplaceAll(err.Error(), s.root, "") }

// statusOf tells what is wrong with a request from what is wrong here: clients
// try the latter again.
func statusOf(err error) int {
	var content *hub.ContentError
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return http.StatusInsufficientStorage
	case errors.As(err, &content):
		return http.StatusBadRequest
	}
	switch fault.KindOf(err) {
	case fault.Usage:
		return http.StatusBadRequest
	case fault.Refused:
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// writeJSON answers 200.
func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil { // values of this package always encode
		panic(err)
	}
	allowWrite(w, int64(len(body)))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body)
}
