// Package ledger keeps what a validator decided: append-only files of JSON
// lines, each of which carries the SHA-256 of the line before it, so that no
// past line can be changed, dropped or moved without it showing. The files need
// no lockstep to be read: jq shows an entry, and sha256sum of a line without
// its newline is the "prev" of the next.
//
// It knows nothing of what entries say.
package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
)

// EpochsPerFile is how many epochs share a file.
const EpochsPerFile = 100

// MaxLine caps the bytes of an entry, newline included: the largest signed
// document in base64, and its readable form.
const MaxLine = 4 << 20

// MaxPiece caps the entries that one Append writes to a file.
const MaxPiece = 1 << 14

// Entry is one fact of an epoch.
type Entry struct {
	Epoch  uint64          `json:"epoch"`
	Kind   string          `json:"kind"`             // 1 to 32 of a-z and '-'
	View   json.RawMessage `json:"view,omitempty"`   // readable form; the whole entry where nothing is signed
	Signed signed.Envelope `json:"signed,omitempty"` // the document itself, in base64
}

// Head is where a ledger ends.
type Head struct {
	Entries uint64        `json:"entries"`
	Epoch   uint64        `json:"epoch"`  // of the last entry
	Digest  merkle.Digest `json:"digest"` // of the last line; zero while there is none
}

// line is an entry in its chain: the form on disk.
type line struct {
	Number uint64        `json:"seq"` // counted from 0
	Prev   merkle.Digest `json:"prev"`
	More   int           `json:"more,omitempty"` // entries of the same piece that follow
	Entry
}

// encode returns the entry's line, newline included, and the head after it.
// More entries of the same piece follow.
func (h Head) encode(e Entry, more int) ([]byte, Head, error) {
	if !kindFits(e.Kind) {
		return nil, h, fault.Errorf(fault.Unexpected, "ledger: %q is not a kind of entry", e.Kind)
	}
	if h.Entries > 0 && e.Epoch < h.Epoch {
		return nil, h, fault.Errorf(fault.Unexpected, "ledger: an entry of epoch %d after one of epoch %d", e.Epoch, h.Epoch)
	}
	b, err := json.Marshal(line{Number: h.Entries, Prev: h.Digest, More: more, Entry: e})
	if err != nil {
		return nil, h, fmt.Errorf("ledger: %s of epoch %d: %w", e.Kind, e.Epoch, err)
	}
	if len(b)+1 > MaxLine {
		return nil, h, fault.Errorf(fault.Unexpected, "ledger: %s of epoch %d has %d bytes; at most %d fit a line", e.Kind, e.Epoch, len(b), MaxLine-1)
	}
	return append(b, '\n'), Head{Entries: h.Entries + 1, Epoch: e.Epoch, Digest: sha256.Sum256(b)}, nil
}

// decode reads one line, without its newline, that has to follow h.
func (h Head) decode(b []byte) (line, Head, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var l line
	if err := dec.Decode(&l); err != nil {
		return l, h, fmt.Errorf("not an entry: %w", err)
	}
	if dec.InputOffset() != int64(len(b)) {
		return l, h, fmt.Errorf("%d bytes after the entry", int64(len(b))-dec.InputOffset())
	}
	switch {
	case l.Number != h.Entries:
		return l, h, fmt.Errorf("entry %d where %d is due", l.Number, h.Entries)
	case l.Prev != h.Digest:
		return l, h, fmt.Errorf("entry %d follows %s, but the line before it is %s", l.Number, l.Prev.Short(), h.Digest.Short())
	case l.More < 0 || l.More >= MaxPiece:
		return l, h, fmt.Errorf("entry %d is followed by %d of its piece", l.Number, l.More)
	case !kindFits(l.Kind):
		return l, h, fmt.Errorf("entry %d has no legal kind", l.Number)
	case h.Entries > 0 && l.Epoch < h.Epoch:
		return l, h, fmt.Errorf("entry %d goes back from epoch %d to %d", l.Number, h.Epoch, l.Epoch)
	}
	return l, Head{Entries: h.Entries + 1, Epoch: l.Epoch, Digest: sha256.Sum256(b)}, nil
}

func kindFits(kind string) bool {
	for _, c := range []byte(kind) {
		if (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return len(kind) > 0 && len(kind) <= 32
}

// fileName names the file of an epoch by the first epoch it may hold.
func fileName(epoch uint64) string {
	return fmt.Sprintf("%020d.jsonl", epoch-epoch%EpochsPerFile)
}
