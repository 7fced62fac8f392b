package client

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lockstep/internal/httpx"
)

// TestBodyHasItsOwnTime begins a body when the time for its head is nearly over,
// or has hardly begun: either way it may be silent for httpx.Silence, not longer.
func TestBodyHasItsOwnTime(t *testing.T) {
	for name, before := range map[string]time.Duration{"late": answerTime - time.Second, "early": time.Second} {
		synctest.Test(t, func(t *testing.T) {
			ctx, w := newWatch(context.Background())
			if _, err := io.ReadAll(w.sending(io.NopCloser(strings.NewReader("sent")))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(before)
			body := w.receiving(io.NopCloser(strings.NewReader("")))
			time.Sleep(httpx.Silence - time.Second)
			if ctx.Err() != nil {
				t.Errorf("%s: given up too early", name)
			}
			time.Sleep(2 * time.Second)
			if !errors.Is(context.Cause(ctx), errStalled) {
				t.Errorf("%s: not given up: %v", name, context.Cause(ctx))
			}
			body.Close()
		})
	}
}
