// Command lockstep trains GPT-2 in a network of miners and validators whose
// gradients are checked, and averaged, bit for bit. See README.md.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"lockstep/internal/fault"
	"lockstep/observe"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code (DESIGN: results on
// stdout, everything else on stderr).
func run(args []string, stdout, stderr io.Writer) int {
	results := &careful{to: stdout}
	app := &app{stdout: results, stderr: stderr}
	root := app.root()
	root.SetArgs(args)
	root.SetOut(results)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		err = results.err // a result that nobody can read is none
	}
	if err == nil {
		return 0
	}
	kind := fault.KindOf(err)
	if !app.started && results.err == nil { // cobra refused the command line before any verb ran
		kind = fault.Usage
	}
	fmt.Fprintf(stderr, "lockstep: %s\n", observe.Printable(err.Error()))
	if kind == fault.Usage {
		fmt.Fprintln(stderr, "Run 'lockstep --help', or the command with --help, for usage.")
	}
	return int(kind)
}

// careful writes results. It remembers the first error, which those who print
// line by line need not look at, and makes them printable: rows, models, names
// and messages come from others, who are not to drive the terminal.
type careful struct {
	to  io.Writer
	err error
}

// Write gets whole lines, or at least whole characters.
func (c *careful) Write(b []byte) (int, error) {
	_, err := io.WriteString(c.to, observe.Printable(string(b)))
	if c.err == nil {
		c.err = err
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}
