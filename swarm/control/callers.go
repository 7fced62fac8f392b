package control

import (
	"sync"

	"lockstep/internal/signed"
)

// Limits of callers. Keys without a seat cost nothing to make, so all of them
// together have less than one key with a seat.
const (
	callerRate     = 256 << 20 // bytes per second of answers to a seated key
	callerBurst    = 512 << 20
	callerRequests = 32 // in flight, of a seated key
	maxCallers     = 2 * MaxSeats

	strangerRate     = 1 << 20 // bytes per second of answers to all other keys together
	strangerBurst    = 4 << 20
	strangerRequests = 4  // in flight, of one of them
	strangersAtOnce  = 64 // in flight, of all of them
	maxStrangers     = 64 // that are remembered

	requestCost = 4 << 10 // bytes that every request counts for
	callerBytes = 8 << 20 // of answers to one key, made and not taken yet
	serverBytes = 256 << 20
)

// caller is what a server remembers of a key.
type caller struct {
	class    *class
	budget   *Budget
	inFlight int
	used     uint64                   // when it last entered, by class.turn
	held     int                      // bytes of answers
	queries  map[string]chan struct{} // by name; holds a token while one is being answered
	paces    map[string]*Budget       // by pattern of a route
}

// class is the callers of one kind, and what they may do.
type class struct {
	keys     int // remembered at the most
	requests int // in flight, of one key
	atOnce   int // in flight, of all keys
	budget   func() *Budget

	byID     map[signed.PeerID]*caller
	inFlight int
	turn     uint64
}

// callers keeps account of the keys that were seen.
type callers struct {
	mu        sync.Mutex
	seated    class
	strangers class
	held      int // bytes of answers
}

func newCallers() *callers {
	shared := NewBudget(strangerRate, strangerBurst)
	return &callers{
		seated: class{
			keys: maxCallers, requests: callerRequests, atOnce: maxCallers * callerRequests,
			budget: func() *Budget { return NewBudget(callerRate, callerBurst) },
			byID:   map[signed.PeerID]*caller{},
		},
		strangers: class{
			keys: maxStrangers, requests: strangerRequests, atOnce: strangersAtOnce,
			budget: func() *Budget { return shared },
			byID:   map[signed.PeerID]*caller{},
		},
	}
}

// enter admits one more request of a key, or reports that there are too many.
func (c *callers) enter(id signed.PeerID, seated bool) (*caller, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	class := &c.strangers
	if seated {
		class = &c.seated
	}
	return class.enter(id)
}

func (c *class) enter(id signed.PeerID) (*caller, bool) {
	k := c.byID[id]
	if c.inFlight >= c.atOnce || (k != nil && k.inFlight >= c.requests) {
		return nil, false
	}
	if k == nil {
		if len(c.byID) >= c.keys && !c.forgetOne() {
			return nil, false
		}
		k = &caller{class: c, budget: c.budget(), queries: map[string]chan struct{}{}, paces: map[string]*Budget{}}
		c.byID[id] = k
	}
	c.turn++
	c.inFlight++
	k.inFlight++
	k.used = c.turn
	return k, true
}

// forgetOne drops the key without requests in flight that was seen longest ago.
func (c *class) forgetOne() bool {
	var oldest signed.PeerID
	found := false
	for id, k := range c.byID {
		if k.inFlight == 0 && (!found || k.used < c.byID[oldest].used) {
			oldest, found = id, true
		}
	}
	delete(c.byID, oldest)
	return found
}

// leave ends what enter began.
func (c *callers) leave(k *caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.inFlight--
	k.class.inFlight--
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

// inPace reports whether a caller may use a route now that lets it do so burst
// times at once, and then once a second.
func (c *callers) inPace(k *caller, pattern string, burst int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.paces[pattern] == nil {
		k.paces[pattern] = NewBudget(1, float64(burst))
	}
	return k.paces[pattern].spare(1)
}

// hold books the n bytes of an answer until it is taken. An answer is refused
// that would be too much, unless it is the only one of its caller: nobody's
// greed keeps others from being answered.
func (c *callers) hold(k *caller, n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.held > 0 && (k.held+n > callerBytes || c.held+n > serverBytes) {
		return false
	}
	k.held += n
	c.held += n
	return true
}

// release ends what hold began.
func (c *callers) release(k *caller, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.held -= n
	c.held -= n
}
