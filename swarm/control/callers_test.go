package control

import (
	"testing"

	"lockstep/internal/signed"
)

func strangerID(i int) signed.PeerID { return signed.PeerID{2, byte(i), byte(i >> 8)} }

func TestCallersAreLimited(t *testing.T) {
	c := newCallers()
	for _, tt := range []struct {
		seated bool
		limit  int
	}{{true, callerRequests}, {false, strangerRequests}} {
		id := signed.PeerID{1}
		for range tt.limit {
			if _, ok := c.enter(id, tt.seated); !ok {
				t.Fatal("refused too early")
			}
		}
		if _, ok := c.enter(id, tt.seated); ok {
			t.Errorf("seated %v: more than %d requests in flight", tt.seated, tt.limit)
		}
	}
}

// TestStrangersForgetOnlyStrangers fills the table of keys without a seat again
// and again.
func TestStrangersForgetOnlyStrangers(t *testing.T) {
	c := newCallers()
	seated, busy := signed.PeerID{1}, signed.PeerID{3}
	k, _ := c.enter(seated, true)
	c.leave(k)
	c.enter(busy, false)
	for i := range 10 * maxStrangers {
		k, ok := c.enter(strangerID(i), false)
		if !ok {
			t.Fatal("an idle caller was not forgotten")
		}
		c.leave(k)
	}
	if c.seated.byID[seated] != k && len(c.seated.byID) != 1 {
		t.Error("strangers pushed out a key with a seat")
	}
	if n := len(c.strangers.byID); n > maxStrangers {
		t.Errorf("%d strangers are remembered", n)
	}
	if k := c.strangers.byID[busy]; k == nil || k.inFlight != 1 {
		t.Error("a caller with a request in flight was forgotten")
	}
	if last := strangerID(10*maxStrangers - 1); c.strangers.byID[last] == nil || c.strangers.byID[strangerID(0)] != nil {
		t.Error("not the oldest caller was forgotten")
	}
}

// TestStrangersTogetherAreLimited: many keys have no more than a few have.
func TestStrangersTogetherAreLimited(t *testing.T) {
	c := newCallers()
	entered := 0
	for i := range 2 * strangersAtOnce {
		if _, ok := c.enter(strangerID(i), false); ok {
			entered++
		}
	}
	if entered != strangersAtOnce {
		t.Errorf("%d requests of strangers are in flight", entered)
	}
	if _, ok := c.enter(signed.PeerID{1}, true); !ok {
		t.Error("strangers keep out a key with a seat")
	}
	one, two := c.strangers.byID[strangerID(0)], c.strangers.byID[strangerID(1)]
	if one.budget != two.budget {
		t.Error("every stranger has a budget of its own")
	}
}

func TestHeldAnswersAreLimited(t *testing.T) {
	c := newCallers()
	greedy, _ := c.enter(signed.PeerID{1}, true)
	if !c.hold(greedy, 2*callerBytes) {
		t.Error("an only answer is refused")
	}
	if c.hold(greedy, 1) {
		t.Error("a caller holds more than it may")
	}
	c.release(greedy, 2*callerBytes)
	if !c.hold(greedy, 1) || !c.hold(greedy, callerBytes-1) || c.hold(greedy, 1) {
		t.Error("what was released is not free, or too much of it is")
	}
	for i := 0; c.held < serverBytes; i++ {
		k, _ := c.enter(strangerID(i), true)
		c.hold(k, callerBytes)
	}
	last, _ := c.enter(signed.PeerID{4}, true)
	if !c.hold(last, 1<<20) {
		t.Error("the first answer of a caller is refused because of others")
	}
	if c.hold(last, 1) {
		t.Error("all callers together hold more than they may")
	}
}
