package f32

import (
	"sync"
	"syscall"
	"testing"
)

// The threads that the self-test checks are as many as it says.
func TestN1_SelfTestHoldsDistinctThreads(t *testing.T) {
	const n = 5
	var mu sync.Mutex
	threads := map[int]bool{}
	onThreads(n, func() string {
		mu.Lock()
		defer mu.Unlock()
		threads[syscall.Gettid()] = true
		return ""
	})
	if len(threads) != n {
		t.Errorf("%d threads, want %d", len(threads), n)
	}
}
