package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"lockstep/internal/fault"
)

// DamageError is a file whose bytes are not what they should be. It names the
// place as closely as it is known, and what to do.
type DamageError struct {
	File   string // path of the file
	Place  string // "row group 2, row 1200" or "line 17"; empty: the whole file
	Err    error  // what is wrong
	Advice string // what to do
}

func (e *DamageError) Error() string {
	place := e.File
	if e.Place != "" {
		place += ": " + e.Place
	}
	return fmt.Sprintf("%s: %v; %s", place, e.Err, e.Advice)
}

func (e *DamageError) Unwrap() error     { return e.Err }
func (e *DamageError) Fault() fault.Kind { return fault.Damaged }

const (
	adviceFetch = "fetch the file again, or take it out of the source"
	adviceWrite = "write it again, or take it out of the source"
	adviceAgain = "the bytes came so; nothing of them was kept. Try again, and if it stays so take another revision"
	adviceCount = "the count is no longer kept: start again, and if it stays so take another revision"
	adviceStill = "leave the files of a source alone while it is in use, and start again"
)

// unfitError is a file that is whole, but not of a kind that can be read.
type unfitError struct{ error }

func unfit(format string, args ...any) error { return unfitError{fmt.Errorf(format, args...)} }

// damage reports err, found at place of file. An error of the file system or
// the network is not damage and keeps its kind: the bytes were never seen.
func damage(file, place string, err error) error {
	var known *DamageError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, errChanged):
		return &DamageError{File: file, Err: err, Advice: adviceStill}
	case fromFileSystem(err):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case notSeen(err):
		return fmt.Errorf("%s: %s: %w", file, place, err)
	}
	advice := adviceFetch
	switch {
	case asUnfit(err):
		advice = adviceWrite
	case strings.Contains(file, "://"):
		advice = adviceAgain
	}
	return &DamageError{File: file, Place: place, Err: err, Advice: advice}
}

// fromFileSystem says whether err is about reaching a file, not about what is
// in it.
func fromFileSystem(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// notSeen says whether err is about fetching bytes, or about a caller that went
// away.
func notSeen(err error) bool {
	var typed fault.Faulter
	return errors.As(err, &typed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// undecodable says whether err is about bytes that are not what they should be,
// and so might be others if they were fetched again.
func undecodable(err error) bool {
	return errors.As(err, new(*DamageError)) && !asUnfit(err)
}

// lasting says whether err is about the bytes of a file, and so will not go
// away by trying again.
func lasting(err error) bool {
	return err != nil && !fromFileSystem(err) && !notSeen(err) && !errors.Is(err, errChanged)
}
