package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"lockstep/internal/fault"
	"lockstep/swarm"
)

// maxEventLine caps an event's line.
const maxEventLine = 4 << 20

// child is one node of a local network: a process of its own, whose events
// come over its stdout.
type child struct {
	name  string // "validator", "miner 2"
	dir   string
	args  []string
	stdin io.Closer // closing it asks the process to leave
	cmd   *exec.Cmd
	again restarts
	said  *tail
}

// report is what a supervisor hears: an event of a child, or its end.
type report struct {
	from  *child
	event swarm.Event // nil when the process has ended
	err   error       // why it ended; nil for a good end
}

// start starts the process and sends its events, then its end, to reports.
// Its stderr goes to the file log in its folder, as far as the disk takes it.
func (c *child) start(reports chan<- report) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	c.said = &tail{}
	if log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err == nil {
		c.said.log = log
	}
	cmd := exec.Command(exe, c.args...)
	cmd.Stderr = c.said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	c.cmd = cmd
	go c.listen(stdout, reports)
	return nil
}

// listen passes events on until the process ends.
func (c *child) listen(stdout io.Reader, reports chan<- report) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 64<<10), maxEventLine)
	for lines.Scan() {
		e, err := swarm.DecodeEvent(lines.Bytes())
		if err == nil && e != nil {
			reports <- report{from: c, event: e}
		}
	}
	io.Copy(io.Discard, stdout) // whatever follows an overlong line
	err := c.cmd.Wait()
	c.said.close()
	if err != nil {
		err = c.explain(err)
	}
	reports <- report{from: c, err: err}
}

// killedError says that a process was ended from outside.
type killedError struct{ name, how string }

func (e *killedError) Error() string     { return fmt.Sprintf("%s was ended by %s", e.name, e.how) }
func (e *killedError) Fault() fault.Kind { return fault.Unexpected }

// explain turns a process's end into an error that says why: the last line it
// said, with the kind that its exit code stands for.
func (c *child) explain(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if exit.ExitCode() < 0 {
		return &killedError{c.name, exit.String()}
	}
	return fault.Errorf(fault.Kind(exit.ExitCode()), "%s: %s", c.name, c.said.last())
}

// maxTail is how much of what a process said last is kept in memory.
const maxTail = 4096

// tail copies to a log and remembers the end. The log may fail, when the disk
// is full, without stopping the process that writes.
type tail struct {
	mu  sync.Mutex
	log *os.File // nil where it could not be opened
	end []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	t.end = t.end[max(0, len(t.end)-maxTail):]
	if t.log != nil {
		t.log.Write(b)
	}
	return len(b), nil
}

func (t *tail) close() {
	if t.log != nil {
		t.log.Close()
	}
}

// last returns the last line, without the program's own name in front.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.end)), "\n")
	line := strings.TrimPrefix(lines[len(lines)-1], "lockstep: ")
	if line == "" {
		return "it ended without a word"
	}
	return line
}

// mayRestart reports whether a child that ended so is worth another start, and
// when: only one that was killed, and not too often.
func (c *child) mayRestart(err error) (pause time.Duration, ok bool) {
	var killed *killedError
	if !errors.As(err, &killed) {
		return 0, false
	}
	return c.again.next(time.Now())
}
