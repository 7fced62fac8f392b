package signed

import (
	"bytes"

	"github.com/fxamacker/cbor/v2"

	"lockstep/internal/fault"
)

// MaxDocument caps the bytes of a document, body and envelope alike. The
// largest one, a roster of 256 members, needs far less.
const MaxDocument = 1 << 20

// encoder and decoder implement RFC 8949 section 4.2 and refuse all else.
var (
	encoder = must(func() (cbor.EncMode, error) {
		o := cbor.CoreDetEncOptions()
		o.NilContainers = cbor.NilContainerAsEmpty
		o.TagsMd = cbor.TagsForbidden
		return o.EncMode()
	}())
	decoder = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   8,
		MaxArrayElements:  1 << 16,
		MaxMapPairs:       256,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic("signed: " + err.Error())
	}
	return v
}

// Marshal returns v as canonical CBOR. Documents are structs with
// `cbor:"N,keyasint"` tags and hold no maps.
func Marshal(v any) ([]byte, error) { return encoder.Marshal(v) }

// Unmarshal reads canonical CBOR into the struct v points to. Unknown, missing
// and duplicate fields, trailing bytes and any encoding other than the
// canonical one are refused, so that a value has exactly one form.
func Unmarshal(data []byte, v any) error { return UnmarshalUpTo(data, v, MaxDocument) }

// UnmarshalUpTo is Unmarshal with another cap, for lists of envelopes.
func UnmarshalUpTo(data []byte, v any, limit int) error {
	if len(data) > limit {
		return fault.Errorf(fault.Damaged, "document of %d bytes; at most %d are read", len(data), limit)
	}
	if err := decoder.Unmarshal(data, v); err != nil {
		return fault.Errorf(fault.Damaged, "document: %w", err)
	}
	again, err := encoder.Marshal(v)
	if err != nil {
		return fault.Errorf(fault.Damaged, "document: %w", err)
	}
	if !bytes.Equal(again, data) {
		return fault.Errorf(fault.Damaged, "document is not in canonical form, or lacks a field")
	}
	return nil
}
