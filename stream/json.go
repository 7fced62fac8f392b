package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonText returns the member "text" of a JSON object. null is a row without
// text. Names are compared as they are, unlike in encoding/json; of two members
// of one name the last counts, as in Python and JavaScript. A string that no
// UTF-8 text can hold, by its bytes or by half of a surrogate pair, is returned
// as bytes that are not UTF-8.
func jsonText(line []byte) (text string, null bool, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(line, &members); err != nil {
		return "", false, jsonError(line, err)
	}
	raw, ok := members[textColumn]
	switch {
	case members == nil:
		return "", false, errors.New("null, where a JSON object is expected")
	case !ok:
		return "", false, unfit("there is no member %q; the members are %s", textColumn, memberNames(members))
	case string(raw) == "null":
		return "", true, nil
	case raw[0] != '"':
		return "", false, unfit("member %q is %.20s, not a string", textColumn, raw)
	case !utf8.Valid(raw) || loneSurrogate(raw):
		return "\xFF", false, nil
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", false, err
	}
	return text, false, nil
}

// jsonError says more than "unexpected end of JSON input".
func jsonError(line []byte, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Offset >= int64(len(bytes.TrimSpace(line))) {
		return fmt.Errorf("the JSON object does not end (%w); the file may have been cut off", err)
	}
	return fmt.Errorf("not a JSON object: %w", err)
}

func memberNames(members map[string]json.RawMessage) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		names = append(names, strconv.Quote(name))
	}
	if len(names) > 20 {
		names = append(names[:20], "...")
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// loneSurrogate says whether a valid JSON string has an escape \uD800 to \uDFFF
// that is not one half of a pair.
func loneSurrogate(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++ // the escaped character; of \uXXXX the digits follow
		if raw[i] != 'u' {
			continue
		}
		first := surrogate(raw[i+1:])
		i += 4
		switch {
		case first == low:
			return true
		case first == high:
			if i+6 >= len(raw) || raw[i+1] != '\\' || raw[i+2] != 'u' || surrogate(raw[i+3:]) != low {
				return true
			}
			i += 6
		}
	}
	return false
}

// half says which half of a surrogate pair four hex digits are.
type half uint8

const (
	neither half = iota
	high
	low
)

func surrogate(digits []byte) half {
	if len(digits) < 2 || digits[0]|0x20 != 'd' {
		return neither
	}
	switch digits[1] | 0x20 {
	case '8', '9', 'a', 'b':
		return high
	case 'c', 'd', 'e', 'f':
		return low
	}
	return neither
}
