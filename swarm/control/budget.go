package control

import (
	"context"
	"sync"
	"time"
)

// Budget paces bytes: a bucket of tokens that fills at a steady rate. The zero
// value lets nothing pass; a nil *Budget everything. It is safe for concurrent
// use.
type Budget struct {
	rate  float64 // bytes per second
	burst float64 // bytes the bucket holds
	now   func() time.Time

	mu     sync.Mutex
	tokens float64 // may be negative: bytes promised to those who wait
	at     time.Time
}

// NewBudget returns a full bucket.
func NewBudget(bytesPerSecond, burst float64) *Budget {
	return &Budget{rate: bytesPerSecond, burst: burst, now: time.Now, tokens: burst, at: time.Now()}
}

// Take waits until n bytes may pass, in the order of asking.
func (b *Budget) Take(ctx context.Context, n int) error {
	if b == nil {
		return nil
	}
	wait := b.promise(n)
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// promise books n bytes and returns how long to wait for them.
func (b *Budget) promise(n int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	b.tokens -= float64(n)
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}

// spare takes n bytes if they may pass at once.
func (b *Budget) spare(n float64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// fill adds what came in since it was last looked at. b.mu is held.
func (b *Budget) fill() {
	now := b.now()
	b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.at).Seconds())
	b.at = now
}
