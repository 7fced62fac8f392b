package control

import (
	"fmt"
	"net/http"
	"strings"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

// Code says why a node refused a request.
type Code string

// The codes. Their HTTP status serves people and proxies; lockstep reads the
// code.
const (
	Unregistered Code = "unregistered" // the key is not in the registry
	OtherRun     Code = "other-run"    // the run specs differ
	Forbidden    Code = "forbidden"    // a seat of that role may not ask this
	Malformed    Code = "malformed"    // the request breaks the format
	Absent       Code = "absent"       // the node does not have it, now or any more
	Later        Code = "later"        // the node does not have it yet
	Busy         Code = "busy"         // too many requests at once
	Withheld     Code = "withheld"     // the node will not show it
	Failed       Code = "failed"       // the node tried and could not
)

var statuses = map[Code]int{
	Unregistered: http.StatusForbidden, OtherRun: http.StatusConflict, Forbidden: http.StatusForbidden,
	Malformed: http.StatusBadRequest, Absent: http.StatusNotFound, Later: http.StatusServiceUnavailable, Busy: http.StatusTooManyRequests,
	Withheld: http.StatusUnavailableForLegalReasons, Failed: http.StatusInternalServerError,
}

// Refusal is a node's no, as a document and as an error.
type Refusal struct {
	Code        Code          `cbor:"1,keyasint" json:"code"`
	Message     string        `cbor:"2,keyasint" json:"message"`
	Differences []string      `cbor:"3,keyasint" json:"differences"` // of the run specs, for OtherRun
	By          signed.PeerID `cbor:"-" json:"-"`                    // who refused; filled in by the client
}

// Refuse makes a refusal with a sentence.
func Refuse(c Code, format string, args ...any) *Refusal {
	return &Refusal{Code: c, Message: fmt.Sprintf(format, args...)}
}

// Error is the sentence a person reads.
func (r *Refusal) Error() string {
	s := r.Message
	if !r.By.IsZero() {
		s = r.By.Short() + ": " + s
	}
	if len(r.Differences) > 0 {
		s += ": " + strings.Join(r.Differences, "; ")
	}
	return s
}

// Fault gives the exit code: a key that is not registered cannot reach the
// network, a run of another fingerprint is not ours.
func (r *Refusal) Fault() fault.Kind {
	if r.Code == OtherRun {
		return fault.Fingerprint
	}
	return fault.Network
}

// maxSentence caps foreign sentences before they are shown.
const maxSentence = 400

// tidy makes a foreign refusal fit to be shown: short, one line, printable, and
// with a code that exists.
func (r *Refusal) tidy(by signed.PeerID) *Refusal {
	if _, known := statuses[r.Code]; !known {
		r.Code = Failed
	}
	r.By, r.Message = by, sentence(r.Message)
	r.Differences = r.Differences[:min(len(r.Differences), MaxDifferences)]
	for i, d := range r.Differences {
		r.Differences[i] = sentence(d)
	}
	return r
}

// sentence replaces what a terminal might act on and cuts what is too long.
func sentence(s string) string {
	s = strings.Map(func(c rune) rune {
		if !printable(string(c)) {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(s[:min(len(s), 4*maxSentence)], "?"))
	if len(s) > maxSentence {
		s = strings.ToValidUTF8(s[:maxSentence], "") + "..."
	}
	return s
}
