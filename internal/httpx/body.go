package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"lockstep/internal/fault"
)

var errSilence = errors.New("the answer stands still")

// watched is a body that is cut off when nothing comes for too long: a dead
// connection may otherwise hold its reader for ever.
type watched struct {
	body    io.ReadCloser
	cancel  context.CancelCauseFunc
	silence time.Duration
	timer   *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	if w.timer == nil {
		w.timer = time.AfterFunc(w.silence, func() { w.cancel(errSilence) })
	} else {
		w.timer.Reset(w.silence)
	}
	n, err := w.body.Read(p)
	w.timer.Stop()
	return n, err
}

func (w *watched) Close() error { return w.body.Close() }

func (w *watched) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// Bytes returns the whole body of an answer of at most limit bytes, and its
// header. A longer one is a fault.Damaged error.
func (c *Client) Bytes(ctx context.Context, r Request, limit int64) ([]byte, http.Header, error) {
	var data []byte
	var header http.Header
	err := c.Do(ctx, r, func(response *http.Response) error {
		var err error
		header = response.Header
		data, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
		if err != nil {
			return err
		}
		if int64(len(data)) > limit {
			return fault.Errorf(fault.Damaged, "%s: the answer is longer than %d bytes", Bare(response.Request.URL), limit)
		}
		return nil
	})
	return data, header, err
}

// JSON decodes an answer of at most limit bytes into out. What is no JSON, such
// as the web page of a network that wants a login first, is a fault.Damaged
// error that says so.
func (c *Client) JSON(ctx context.Context, r Request, limit int64, out any) (http.Header, error) {
	data, header, err := c.Bytes(ctx, r, limit)
	if err != nil {
		return nil, err
	}
	address, _, _ := strings.Cut(r.URL, "?")
	if LooksHTML(header, data) {
		return nil, fault.Errorf(fault.Damaged, "%s: a web page came where JSON belongs; does this network want a login first, and is HF_ENDPOINT right?", address)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(out); err != nil {
		return nil, fault.Errorf(fault.Damaged, "%s: the answer is not the JSON that belongs there: %w", address, err)
	}
	if rest, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fault.Errorf(fault.Damaged, "%s: something follows the JSON of the answer: %s", address, clip(fmt.Sprint(rest, err)))
	}
	return header, nil
}
