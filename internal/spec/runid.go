package spec

import (
	"encoding/hex"
	"fmt"
)

// RunID tells runs of one spec apart: 32 random bytes that the validator draws
// before it leads a run for the first time. Every signed document names it, so
// that what was signed in another run counts for nothing in this one, though
// spec and keys be the same. Nothing that is computed depends on it.
type RunID [32]byte

// String returns 64 lower-case hex digits.
func (r RunID) String() string { return hex.EncodeToString(r[:]) }

// Short returns the first eight hex digits, for people.
func (r RunID) Short() string { return hex.EncodeToString(r[:4]) }

// IsZero reports whether r names no run.
func (r RunID) IsZero() bool { return r == RunID{} }

// MarshalText makes run ids hex strings in JSON.
func (r RunID) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText accepts exactly 64 hex digits.
func (r *RunID) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(r)) {
		return fmt.Errorf("a run id has 64 hex digits, not %d", len(text))
	}
	_, err := hex.Decode(r[:], text)
	return err
}
