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
	return c.body(ctx, r, limit, func(http.Header, []byte) error { return nil })
}

// body is Bytes for an answer that must pass a check.
func (c *Client) body(ctx context.Context, r Request, limit int64, check func(http.Header, []byte) error) ([]byte, http.Header, error) {
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
		if err := check(header, data); err != nil {
			return &Garbled{fault.Errorf(fault.Damaged, "%s: %w", Bare(response.Request.URL), err)}
		}
		return nil
	})
	return data, header, err
}

// JSONBytes is Bytes for an answer that must be one JSON value. What is none,
// such as the web page of a network that wants a login first, is a *Garbled.
func (c *Client) JSONBytes(ctx context.Context, r Request, limit int64) ([]byte, http.Header, error) {
	return c.body(ctx, r, limit, checkJSON)
}

// JSON decodes an answer of at most limit bytes into out.
func (c *Client) JSON(ctx context.Context, r Request, limit int64, out any) (http.Header, error) {
	data, header, err := c.JSONBytes(ctx, r, limit)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, out); err != nil {
		address, _, _ := strings.Cut(r.URL, "?")
		return nil, fault.Errorf(fault.Damaged, "%s: the answer is not the JSON that belongs there: %w", address, err)
	}
	return header, nil
}

// checkJSON says what keeps an answer from being one JSON value.
func checkJSON(header http.Header, data []byte) error {
	if LooksHTML(header, data) {
		return errors.New("a web page came where JSON belongs; does this network want a login first, and is HF_ENDPOINT right?")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(new(json.RawMessage)); err != nil {
		return fmt.Errorf("the answer is not the JSON that belongs there: %w", err)
	}
	if rest, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows the JSON of the answer: %s", clip(fmt.Sprint(rest, err)))
	}
	return nil
}
