package client

import (
	"sync"
	"time"
)

// reportEvery is how often a transfer's state is told.
const reportEvery = 200 * time.Millisecond

// reporter returns a function to be told how many bytes of a file have moved.
func (k *Client) reporter(path string, total int64, upload bool) func(done int64) {
	if k.config.Progress == nil {
		return func(int64) {}
	}
	var mu sync.Mutex
	var told time.Time
	ended := false
	return func(done int64) {
		mu.Lock()
		defer mu.Unlock()
		now := k.now()
		if done < total && now.Sub(told) < reportEvery || done == total && ended {
			return
		}
		told, ended = now, done == total
		k.config.Progress(Transfer{Path: path, Upload: upload, Done: done, Total: total})
	}
}
