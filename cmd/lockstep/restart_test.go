package main

import (
	"testing"
	"time"
)

func TestRestartsCountPerMinute(t *testing.T) {
	var r restarts
	now := time.Unix(0, 0)
	for i, want := range []time.Duration{300 * time.Millisecond, 600 * time.Millisecond, 1200 * time.Millisecond} {
		if pause, ok := r.next(now); !ok || pause != want {
			t.Errorf("restart %d: after %v, %v; want %v", i+1, pause, ok, want)
		}
		now = now.Add(10 * time.Second)
	}
	if _, ok := r.next(now); ok {
		t.Error("a fourth restart within a minute")
	}
	now = now.Add(30 * time.Second) // a minute after the first
	if pause, ok := r.next(now); !ok || pause != 1200*time.Millisecond {
		t.Errorf("once the first is a minute old: %v, %v", pause, ok)
	}
	for i := range 100 {
		now = now.Add(time.Hour)
		if pause, ok := r.next(now); !ok || pause != firstPause {
			t.Fatalf("kill %d, one an hour: %v, %v", i+1, pause, ok)
		}
	}
}
