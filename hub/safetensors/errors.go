package safetensors

import (
	"fmt"
	"strings"

	"lockstep/internal/fault"
)

// Defect is one way in which a file can be wrong. Every [Error] unwraps to one,
// so that errors.Is(err, safetensors.Overlap) works.
type Defect uint8

// The defects of a file's frame and header, then those found when reading.
const (
	TooShort        Defect = iota + 1 // no room for the header's length
	HeaderTooLarge                    // the header's length exceeds MaxHeader
	HeaderCut                         // the file ends inside the header
	NotUTF8                           // the header is not UTF-8
	BadSyntax                         // the header is not the JSON the format asks for
	DuplicateKey                      // a name, field or metadata key appears twice
	UnknownDtype                      // an element type the format does not have
	MissingField                      // an entry without dtype, shape or data_offsets
	UnknownField                      // an entry with any other field
	TooManyAxes                       // a shape longer than MaxAxes
	Overflow                          // a shape whose size in bytes exceeds 63 bits
	PartOfByte                        // sub-byte elements that do not fill their last byte
	BackwardOffsets                   // a range that ends before it begins
	WrongSize                         // a range that does not fit type and shape
	Overlap                           // two tensors share bytes
	Hole                              // bytes that belong to no tensor
	Truncated                         // the file ends inside a tensor
	TrailingBytes                     // the file goes on after the last tensor
	Missing                           // the file has no tensor of this name
	WrongShape                        // the tensor has another shape than expected
	NotReadable                       // the element type does not convert to float32
)

// defects gives each Defect its words and what a person can do about it.
var defects = [...]struct{ what, remedy string }{
	TooShort:        {"the file is too short for a header length", fetchAgain},
	HeaderTooLarge:  {"the header is too large", notOurs},
	HeaderCut:       {"the file ends inside the header", fetchAgain},
	NotUTF8:         {"the header is not UTF-8", saveAgain},
	BadSyntax:       {"the header is not valid", saveAgain},
	DuplicateKey:    {"a key appears twice", saveAgain},
	UnknownDtype:    {"unknown element type", "save it as F32, F16, BF16 or F64"},
	MissingField:    {"a field is missing", saveAgain},
	UnknownField:    {"unknown field", saveAgain},
	TooManyAxes:     {"the shape has too many axes", saveAgain},
	Overflow:        {"the shape's size in bytes overflows", saveAgain},
	PartOfByte:      {"the elements do not fill whole bytes", saveAgain},
	BackwardOffsets: {"the data range ends before it begins", saveAgain},
	WrongSize:       {"the data range does not fit type and shape", saveAgain},
	Overlap:         {"the data range overlaps another tensor's", saveAgain},
	Hole:            {"bytes before the data range belong to no tensor", saveAgain},
	Truncated:       {"the file ends inside the data", fetchAgain},
	TrailingBytes:   {"the file goes on after the last tensor", fetchAgain},
	Missing:         {"no such tensor", "check that the file belongs to this model"},
	WrongShape:      {"another shape than expected", "check that the file belongs to this model"},
	NotReadable:     {"the element type does not convert to float32", "save it as F32, F16, BF16 or F64"},
}

const (
	fetchAgain = "fetch the file again"
	saveAgain  = "save it again with a current safetensors library"
	notOurs    = "check that this is a safetensors file"
)

// Error returns the defect in words.
func (d Defect) Error() string {
	if d == 0 || int(d) >= len(defects) {
		return fmt.Sprintf("defect(%d)", uint8(d))
	}
	return defects[d].what
}

// Error says which file is damaged, where and how, and what to do.
type Error struct {
	File   string
	Tensor string // empty when the defect is the file's
	Defect Defect
	Detail string // the numbers, or empty
}

func (e *Error) Error() string {
	s := "safetensors " + e.File + ": "
	if e.Tensor != "" {
		s += fmt.Sprintf("tensor %q: ", clip(e.Tensor))
	}
	s += e.Defect.Error()
	if e.Detail != "" {
		s += " (" + clip(e.Detail) + ")"
	}
	if int(e.Defect) < len(defects) && defects[e.Defect].remedy != "" {
		s += "; " + defects[e.Defect].remedy
	}
	return s
}

// clip bounds what a message repeats of a hostile file.
func clip(s string) string {
	const longest = 300
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "..."
}

// Unwrap returns the Defect.
func (e *Error) Unwrap() error { return e.Defect }

// Fault says that the input is damaged.
func (e *Error) Fault() fault.Kind { return fault.Damaged }
