package main

import "time"

// Limits on how often a supervisor starts a process again. What counts is how
// close together the ends are: a process that is killed once an hour is always
// worth another start, one that dies as soon as it runs is not.
const (
	maxRestarts   = 3
	restartWindow = time.Minute
	firstPause    = 300 * time.Millisecond
)

// restarts remembers when a process was started again. The zero value is one
// that never was.
type restarts struct{ at []time.Time }

// next reports whether a process that has just ended may be started again, and
// after which pause: 0.3 s, doubled for each restart within the last minute.
func (r *restarts) next(now time.Time) (pause time.Duration, ok bool) {
	for len(r.at) > 0 && now.Sub(r.at[0]) >= restartWindow {
		r.at = r.at[1:]
	}
	if len(r.at) >= maxRestarts {
		return 0, false
	}
	pause = firstPause << len(r.at)
	r.at = append(r.at, now)
	return pause, true
}
