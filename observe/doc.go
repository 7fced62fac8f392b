// Package observe shows a run to a person: the step line, rates and times in
// readable units, small tables, a sparkline, a terminal that rewrites its last
// line. It is fed with numbers and knows nothing of training. Programs that
// want data should read the JSON output instead.
package observe
