package server

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"lockstep/internal/fault"
)

// steadyBody gives up a request body that comes more slowly than minRate, so
// that many slow clients cannot hold the server's requests.
type steadyBody struct {
	io.ReadCloser
	control *http.ResponseController
	until   time.Time
	ended   bool // read to its end
}

// newSteadyBody sets the deadline at once: net/http itself reads what a handler
// leaves unread, and would wait for it for ever.
func newSteadyBody(w http.ResponseWriter, body io.ReadCloser) *steadyBody {
	b := &steadyBody{ReadCloser: body, control: http.NewResponseController(w), until: time.Now().Add(bodyGrace)}
	_ = b.control.SetReadDeadline(b.until) // recorders have no deadlines
	return b
}

// Read reads on within the deadline. Behind the body's end there is none: it
// would cancel the context of a request that takes longer to answer.
func (b *steadyBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(b.until)
	n, err := b.ReadCloser.Read(p)
	b.until = b.until.Add(time.Duration(n) * time.Second / minRate)
	if errors.Is(err, io.EOF) {
		b.ended = true
		_ = b.control.SetReadDeadline(time.Time{})
	} else if err != nil {
		err = fault.Errorf(fault.Usage, "reading the request: %w", err)
	}
	return n, err
}

// allowWrite gives a response of size bytes the time that minRate allows.
func allowWrite(w http.ResponseWriter, size int64) {
	until := time.Now().Add(bodyGrace + time.Duration(size/minRate)*time.Second)
	_ = http.NewResponseController(w).SetWriteDeadline(until) // recorders have no deadlines
}

// errTooLarge says that a body is larger than its cap.
var errTooLarge = errors.New("the request is larger than this server takes")

// readAll reads a body of at most limit bytes.
func readAll(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLarge
	}
	return b, err
}

// readJSON decodes a body of at most limit bytes. Unknown fields are let pass:
// clients differ in what they send.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64, into any) bool {
	text, err := readAll(r, limit)
	switch {
	case errors.Is(err, errTooLarge):
		fail(w, r, http.StatusRequestEntityTooLarge, "", "%v (%d bytes)", err, limit)
	case err != nil:
		fail(w, r, http.StatusBadRequest, "", "%v", err)
	default:
		if err = json.Unmarshal(text, into); err != nil {
			fail(w, r, http.StatusBadRequest, "", "the request is not the JSON expected here: %v", err)
		}
	}
	return err == nil
}
