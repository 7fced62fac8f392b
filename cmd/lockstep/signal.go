package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"lockstep/internal/fault"
	"lockstep/observe"
)

// interrupts turns SIGINT and SIGTERM into a polite stop and then a firm one.
type interrupts struct {
	// Stop closes at the first signal: finish the work in hand, save, leave.
	Stop chan struct{}
	// Context ends at the second signal: save what is consistent, leave now.
	// A third signal ends the process at once.
	Context context.Context

	kind   atomic.Int64 // fault.Kind of the first signal, 0 before
	cancel context.CancelFunc
	caught chan os.Signal
}

// catch starts to listen. Call release when the work is done.
func catch(ctx context.Context, t *observe.Terminal) *interrupts {
	return catchOnly(ctx, t, os.Interrupt, syscall.SIGTERM)
}

func catchOnly(ctx context.Context, t *observe.Terminal, signals ...os.Signal) *interrupts {
	ctx, cancel := context.WithCancel(ctx)
	i := &interrupts{Stop: make(chan struct{}), Context: ctx, cancel: cancel, caught: make(chan os.Signal, 3)}
	signal.Notify(i.caught, signals...)
	go i.listen(t)
	return i
}

// catchAsChild listens for the parent: the end of stdin is a first signal, and
// SIGTERM one more. Ctrl-C, which a terminal sends to parent and children alike,
// is left to the parent, who knows in which order to leave.
func catchAsChild(ctx context.Context, t *observe.Terminal, stdin io.Reader) *interrupts {
	signal.Ignore(os.Interrupt)
	i := catchOnly(ctx, t, syscall.SIGTERM)
	go func() {
		io.Copy(io.Discard, stdin)
		if !i.first(fault.Interrupted) {
			i.cancel()
		}
	}()
	return i
}

func (i *interrupts) listen(t *observe.Terminal) {
	first, ok := <-i.caught
	if !ok {
		return
	}
	kind := fault.Interrupted
	if first == syscall.SIGTERM {
		kind = fault.Terminated
	}
	if i.first(kind) {
		t.Line("stopping after the work in hand; interrupt again to stop now")
	} else { // the parent has asked before
		i.cancel()
	}
	if _, ok := <-i.caught; !ok {
		return
	}
	signal.Stop(i.caught) // a third signal has the default effect
	t.Line("stopping now")
	i.cancel()
}

// first closes Stop, once, and remembers why. It reports whether this was the
// first time.
func (i *interrupts) first(kind fault.Kind) bool {
	if !i.kind.CompareAndSwap(0, int64(kind)) {
		return false
	}
	close(i.Stop)
	return true
}

// stopAtOnce makes the first signal end the context already, for work that
// leaves nothing half-done.
func (i *interrupts) stopAtOnce() {
	go func() {
		select {
		case <-i.Stop:
			i.cancel()
		case <-i.Context.Done():
		}
	}()
}

// release ends the listening.
func (i *interrupts) release() {
	signal.Stop(i.caught)
	i.cancel()
	close(i.caught)
}

// stopped reports whether a signal has come.
func (i *interrupts) stopped() bool {
	select {
	case <-i.Stop:
		return true
	default:
		return false
	}
}

// outcome gives the exit code of an interrupted run to an otherwise good one.
func (i *interrupts) outcome(err error, saved string) error {
	kind := fault.Kind(i.kind.Load())
	if kind == fault.None || (err != nil && fault.KindOf(err) != fault.Interrupted) {
		return err
	}
	return fault.Errorf(kind, "interrupted; %s", saved)
}
