// Package tokenizer turns text into the integers that a model is trained on,
// and back. It holds two byte-pair encodings: GPT2, the published one, and
// Nano, 512 tokens learned from the built-in corpus, for tests and small
// machines. Both are pure functions of their input: no file is read, nothing is
// downloaded, and every copy of the program gives the same tokens.
//
// A tokenizer is part of what peers must agree on. Its Digest covers the
// tokens, the pattern that cuts text into pieces, and the version of the
// Unicode tables behind \p{L} and \p{N}: a Go toolchain with newer tables may
// cut a new script differently.
package tokenizer

import (
	"fmt"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// EndOfText is the text of the token that ends every row.
const EndOfText = "<|endoftext|>"

// Tokenizer is a byte-level byte-pair encoding. Every method is safe for
// concurrent use, and what it returns belongs to the caller.
type Tokenizer interface {
	// Name is "gpt2" or "nano".
	Name() string
	// Digest identifies everything that the tokens of a text depend on.
	Digest() merkle.Digest
	// Size is the number of tokens; ids are 0 to Size-1.
	Size() int
	// EndOfText is the id of the token that ends a row, the last one.
	EndOfText() int32

	// Encode returns the tokens of text. "<|endoftext|>" in the text is plain
	// text. A byte that is not UTF-8 counts as U+FFFD; rows are checked before.
	Encode(text string) []int32
	// EncodeWithSpecial is Encode, but every "<|endoftext|>" in the text
	// becomes the token EndOfText. It is for prompts, never for rows.
	EncodeWithSpecial(text string) []int32
	// Decode returns the bytes of ids, which need not be UTF-8: a token may
	// hold half a character. An id outside the vocabulary is an
	// *UnknownTokenError.
	Decode(ids []int32) ([]byte, error)

	// Files returns the tokenizer as Hugging Face's libraries read it, sorted
	// by name; the same bytes every time.
	Files() []File
}

// File is one file of a model repository.
type File struct {
	Name string
	Data []byte
}

// UnknownTokenError is an id that the vocabulary does not have.
type UnknownTokenError struct {
	Tokenizer string
	Index     int // position in the ids
	ID        int32
	Size      int
}

func (e *UnknownTokenError) Error() string {
	return fmt.Sprintf("token %d at position %d is not in the vocabulary of tokenizer %s, whose ids are 0 to %d",
		e.ID, e.Index, e.Tokenizer, e.Size-1)
}

// Fault says that the ids are damaged input.
func (e *UnknownTokenError) Fault() fault.Kind { return fault.Damaged }

// ByName returns the tokenizer of that name: "gpt2" or "nano".
func ByName(name string) (Tokenizer, error) {
	switch name {
	case "gpt2":
		return GPT2()
	case "nano":
		return Nano(), nil
	}
	return nil, fault.Errorf(fault.Config, "tokenizer %q is unknown; there are gpt2 and nano", name)
}

// ForVocabulary returns the tokenizer whose Size is a model's vocab_size.
func ForVocabulary(size int) (Tokenizer, error) {
	switch size {
	case gpt2Size:
		return GPT2()
	case nanoSize:
		return Nano(), nil
	}
	return nil, fault.Errorf(fault.Config, "no tokenizer has %d tokens; gpt2 has %d, nano has %d", size, gpt2Size, nanoSize)
}
