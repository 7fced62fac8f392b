package client

import (
	"errors"
	"net/http"
	"strings"
	"unicode"

	"lockstep/hub"
	"lockstep/internal/httpx"
)

// maxErrorText is how much is shown of what a server says about one object.
const maxErrorText = 500

// refusal finds the answer that an error is about; nil if there was none.
func refusal(err error) *httpx.Error {
	var e *httpx.Error
	if !errors.As(err, &e) || e.Status == 0 {
		return nil
	}
	return e
}

// refusedWith says whether an error is an answer with this status.
func refusedWith(err error, status int) bool {
	e := refusal(err)
	return e != nil && e.Status == status
}

// unanswered says whether a request failed for want of an answer, or by that of a
// server in trouble. What a server does say, if only to ask for patience, or what
// a proxy says in its place, is an answer.
func unanswered(err error) bool {
	var e *httpx.Error
	return errors.As(err, &e) && (e.Status == 0 || e.Status >= 500)
}

// printable keeps what a terminal can show, up to a length.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return s[:min(len(s), limit)]
}

// noRepository is what is missing where a Hub does not tell "not there" from "not
// for you".
const noRepository = "repository (or no right to see it)"

// notFound turns the codes of absence into hub.NotFoundError.
func notFound(err error, repo, revision, file string) error {
	e := refusal(err)
	if e == nil {
		return err
	}
	switch {
	case e.Code == "RepoNotFound":
		return &hub.NotFoundError{What: noRepository, Name: repo, Where: "Hub"}
	case e.Code == "RevisionNotFound":
		return &hub.NotFoundError{What: "revision", Name: revision, Where: repo}
	case e.Code == "EntryNotFound", e.Status == http.StatusNotFound && file != "":
		return &hub.NotFoundError{What: "file", Name: file, Where: repo + ", revision " + revision}
	}
	return err
}
