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
	now := b.now()
	b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	b.tokens -= float64(n)
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}

// Limits of one caller.
const (
	callerRate     = 256 << 20 // bytes per second of answers
	callerBurst    = 512 << 20
	callerRequests = 32 // in flight
	requestCost    = 4 << 10
	maxCallers     = 1024 // whose budgets are remembered
)

// caller is what a server remembers of a key.
type caller struct {
	budget   *Budget
	inFlight int
	queries  map[string]chan struct{} // by name; holds a token while one is being answered
}

// callers keeps the budgets of the keys that were seen, and forgets idle ones
// when they become too many.
type callers struct {
	mu   sync.Mutex
	byID map[[32]byte]*caller
}

// enter admits one more request of a key, or reports that there are too many.
func (c *callers) enter(id [32]byte) (*caller, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.byID[id]
	if k == nil {
		if len(c.byID) >= maxCallers && !c.forgetOne() {
			return nil, false
		}
		k = &caller{budget: NewBudget(callerRate, callerBurst), queries: map[string]chan struct{}{}}
		c.byID[id] = k
	}
	if k.inFlight >= callerRequests {
		return nil, false
	}
	k.inFlight++
	return k, true
}

// forgetOne drops some key without requests in flight.
func (c *callers) forgetOne() bool {
	for id, k := range c.byID {
		if k.inFlight == 0 {
			delete(c.byID, id)
			return true
		}
	}
	return false
}

// slot returns where a caller's queries of a name wait for each other.
func (c *callers) slot(k *caller, name string) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.queries[name] == nil {
		k.queries[name] = make(chan struct{}, 1)
	}
	return k.queries[name]
}

func (c *callers) leave(k *caller) {
	c.mu.Lock()
	k.inFlight--
	c.mu.Unlock()
}
