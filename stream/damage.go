package stream

import (
	"errors"
	"fmt"
	"io/fs"

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
	adviceStill = "leave the files of a source alone while it is in use, and start again"
)

// unfitError is a file that is whole, but not of a kind that can be read.
type unfitError struct{ error }

func unfit(format string, args ...any) error { return unfitError{fmt.Errorf(format, args...)} }

// damage reports err, found at place of file. An error of the file system is
// not damage and stays what it is, path included: the bytes were never seen.
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
	}
	advice := adviceFetch
	if asUnfit(err) {
		advice = adviceWrite
	}
	return &DamageError{File: file, Place: place, Err: err, Advice: advice}
}

// fromFileSystem says whether err is about reaching a file, not about what is
// in it.
func fromFileSystem(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// lasting says whether err is about the bytes of a file, and so will not go
// away by trying again.
func lasting(err error) bool {
	return err != nil && !fromFileSystem(err) && !errors.Is(err, errChanged)
}
