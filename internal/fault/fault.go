// Package fault names the ways in which lockstep can fail, so that one table
// decides what a person reads and which exit code a script sees. It knows
// nothing of what failed: packages attach a Kind to their own errors, and only
// cmd/lockstep turns a Kind into an exit code.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// Kind is a class of failure. Its number is the process's exit code.
type Kind int

// The kinds, with the exit codes of the command line.
const (
	None        Kind = 0   // no failure
	Unexpected  Kind = 1   // a bug, or an I/O error that fits nowhere else
	Usage       Kind = 2   // the command line itself is wrong
	Config      Kind = 3   // a setting is unknown, missing or impossible
	Environment Kind = 4   // this machine cannot do it: disk full, too little memory
	Damaged     Kind = 5   // input bytes are not what they should be
	False       Kind = 10  // a claim was recomputed and is false
	Undecided   Kind = 11  // evidence is incomplete or badly signed
	SelfTest    Kind = 12  // this machine does not reproduce the contract's bits
	Network     Kind = 20  // a peer or the Hub cannot be reached, or does not admit us
	Refused     Kind = 21  // the Hub answered and said no
	Fingerprint Kind = 30  // the peer runs under another run spec, or leads another run of it
	Interrupted Kind = 130 // SIGINT
	Terminated  Kind = 143 // SIGTERM
)

var names = map[Kind]string{
	None: "none", Unexpected: "unexpected", Usage: "usage", Config: "config",
	Environment: "environment", Damaged: "damaged", False: "false",
	Undecided: "undecided", SelfTest: "self-test", Network: "network",
	Refused: "refused", Fingerprint: "fingerprint",
	Interrupted: "interrupted", Terminated: "terminated",
}

// String returns the kind's name, as it appears in JSON.
func (k Kind) String() string {
	if s, ok := names[k]; ok {
		return s
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// Faulter is implemented by errors that know their kind.
type Faulter interface{ Fault() Kind }

type faultError struct {
	kind Kind
	err  error
}

func (e *faultError) Error() string { return e.err.Error() }
func (e *faultError) Unwrap() error { return e.err }
func (e *faultError) Fault() Kind   { return e.kind }

// Errorf is fmt.Errorf with a kind.
func Errorf(k Kind, format string, args ...any) error {
	return &faultError{kind: k, err: fmt.Errorf(format, args...)}
}

// Wrap gives err a kind; nil stays nil. The outermost kind wins.
func Wrap(k Kind, err error) error {
	if err == nil {
		return nil
	}
	return &faultError{kind: k, err: err}
}

// KindOf returns the kind of err: the outermost one attached, else Environment
// for a full or read-only disk and the like, Interrupted for a cancelled context, else Unexpected.
func KindOf(err error) Kind {
	var f Faulter
	switch {
	case err == nil:
		return None
	case errors.As(err, &f):
		return f.Fault()
	case isEnvironment(err):
		return Environment
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return Config // a path that a setting names
	}
	return Unexpected
}

// isEnvironment reports whether the operating system refused for want of
// something that this program cannot mend: space, files, memory, a right.
func isEnvironment(err error) bool {
	for _, e := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EROFS, fs.ErrPermission,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
