package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"lockstep/internal/httpx"
)

// watch ends a request on which nothing moves. Deadlines for whole requests
// would be wrong for files of any size.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// errStalled is the reason why a watched request ended.
var errStalled = errors.New("nothing moved for too long")

// newWatch allows answerTime for what comes before the first byte of the answer.
func newWatch(ctx context.Context) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{ctx: ctx, cancel: cancel}
	w.timer = time.AfterFunc(answerTime+stallTime, func() { cancel(errStalled) })
	return ctx, w
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain names the cause of a request that was ended here.
func (w *watch) explain(err error) error {
	if cause := context.Cause(w.ctx); cause == errStalled {
		return fmt.Errorf("%w: %w", err, errStalled)
	}
	return err
}

// sending is a request's body, each of whose bytes gives it more time.
func (w *watch) sending(b io.ReadCloser) io.ReadCloser { return watchedBody{b, w, stallTime} }

// receiving is an answer's body; closing it ends the watch. Its first byte has as
// long as each of the others, whatever the answer's head has left of its time.
func (w *watch) receiving(b io.ReadCloser) io.ReadCloser {
	w.timer.Reset(httpx.Silence)
	return lastBody{watchedBody{b, w, httpx.Silence}}
}

type watchedBody struct {
	io.ReadCloser
	watch *watch
	stall time.Duration
}

type lastBody struct{ watchedBody }

func (b lastBody) Close() error {
	defer b.watch.stop()
	return b.ReadCloser.Close()
}

func (b watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.timer.Reset(b.stall)
	}
	if err == io.EOF { // sent, or read, to its end: now the answer's time counts
		b.watch.timer.Reset(answerTime)
	}
	if err != nil && err != io.EOF {
		err = b.watch.explain(err)
	}
	return n, err
}
