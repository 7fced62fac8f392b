package control

import (
	"context"
	"errors"
	"time"
)

// Deadlines of a request. Both ends keep them, so that neither holds memory or a
// place for one that has gone silent.
const (
	connectTime = 5 * time.Second  // for TCP and TLS
	graceTime   = 10 * time.Second // for whatever is asked, before its size counts
	leastRate   = 64 << 10         // bytes per second below which a body is given up
)

// transferTime returns how long a body of size bytes may take from one end to
// the other.
func transferTime(size int) time.Duration {
	return graceTime + time.Duration(size)*time.Second/leastRate
}

// errSilent is why an alarm ends a request.
var errSilent = errors.New("the answer does not come in time")

// alarm ends a context, with errSilent as the cause, unless it is put off or
// stopped in time.
type alarm struct {
	end   context.CancelCauseFunc
	timer *time.Timer
}

// newAlarm returns a context that ends after d.
func newAlarm(ctx context.Context, d time.Duration) (context.Context, *alarm) {
	ctx, end := context.WithCancelCause(ctx)
	return ctx, &alarm{end, time.AfterFunc(d, func() { end(errSilent) })}
}

// putOff lets the context end d from now instead.
func (a *alarm) putOff(d time.Duration) { a.timer.Reset(d) }

// stop ends the context and frees what the alarm holds.
func (a *alarm) stop() {
	a.timer.Stop()
	a.end(nil)
}
