package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"lockstep/internal/signed"
)

// answer is what goes back to a caller.
type answer struct {
	status int
	kind   string // media type
	body   []byte
	paced  bool // by the node's throttle: vectors, not words
}

// answer writes a reply down.
func (r Reply) answer(asJSON bool) answer {
	if r.Raw != nil {
		return answer{http.StatusOK, typeBytes, r.Raw, true}
	}
	doc := r.Document
	if asJSON && r.View != nil {
		doc = r.View
	}
	if doc == nil {
		doc = struct{}{}
	}
	return documentAnswer(http.StatusOK, doc, asJSON)
}

// answer writes a refusal down.
func (r *Refusal) answer(asJSON bool) answer { return documentAnswer(statuses[r.Code], r, asJSON) }

// refusalOf makes a refusal of what went wrong.
func refusalOf(err error) *Refusal {
	r := new(Refusal)
	if !errors.As(err, &r) {
		r = Refuse(Failed, "%v", err)
	}
	return r
}

func documentAnswer(status int, doc any, asJSON bool) answer {
	a := answer{status: status, kind: typeCBOR}
	var err error
	if asJSON {
		a.kind = typeJSON
		a.body, err = json.MarshalIndent(doc, "", "  ")
		a.body = append(a.body, '\n')
	} else {
		a.body, err = signed.Marshal(doc)
	}
	if err != nil {
		panic("control: " + err.Error()) // plain structs always encode
	}
	return a
}

// send writes an answer in pieces, within the caller's budget and the node's
// throttle. A caller that has not taken it in its time, beside what this node
// made it wait, gets no more of it.
func (h *handler) send(ctx context.Context, w http.ResponseWriter, a answer, budget *Budget) {
	const piece = 64 << 10
	var throttle *Budget
	if a.paced {
		throttle = h.options.Throttle
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	deadline := time.Now().Add(transferTime(len(a.body)))
	for b := a.body; len(b) > 0; {
		n := min(piece, len(b))
		began := time.Now()
		if budget.Take(ctx, n) != nil || throttle.Take(ctx, n) != nil {
			return
		}
		deadline = deadline.Add(time.Since(began))
		_ = http.NewResponseController(w).SetWriteDeadline(deadline) // HTTP/2 always can
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}
