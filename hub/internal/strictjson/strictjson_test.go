package strictjson

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// walk reads a fixed shape: an object whose values are strings ("s..."),
// numbers ("n...") or arrays of numbers (any other key).
func walk(text string) (map[string]any, error) {
	r, err := NewReader([]byte(text))
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	err = r.Object(func(key string) error {
		switch {
		case strings.HasPrefix(key, "s"):
			v, err := r.Text()
			out[key] = v
			return err
		case strings.HasPrefix(key, "n"):
			v, err := r.Int()
			out[key] = v
			return err
		}
		list := []int64{}
		err := r.Array(func() error {
			v, err := r.Int()
			list = append(list, v)
			return err
		})
		out[key] = list
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, r.End()
}

func TestReads(t *testing.T) {
	got, err := walk(" {\t\"s1\" : \"a\\u00e9\\uD83D\\uDE00\\n\\/\" ,\n\"n\":9223372036854775807,\"l\":[ 1 ,2],\"\":[],\"n0\":0}\r ")
	want := map[string]any{"s1": "aé😀\n/", "n": int64(math.MaxInt64), "l": []int64{1, 2}, "": []int64{}, "n0": int64(0)}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, what string }{
		{"empty", "", "an object"},
		{"cut after brace", "{", "a string"},
		{"cut after key", `{"s"`, "colon"},
		{"cut in string", `{"s":"a`, "inside a string"},
		{"cut in escape", `{"s":"\`, "inside a string"},
		{"cut in hex", `{"s":"\u12`, "inside an escape"},
		{"trailing comma", `{"n":1,}`, "a string"},
		{"trailing comma in list", `{"l":[1,]}`, "natural number"},
		{"missing comma", `{"n":1 "n2":2}`, "comma"},
		{"unquoted key", `{n:1}`, "a string"},
		{"text after", `{} x`, "after the end"},
		{"NUL after", "{}\x00", "after the end"},
		{"control character", "{\"s\":\"a\nb\"}", "control character"},
		{"unknown escape", `{"s":"\x41"}`, "unknown escape"},
		{"bad hex", `{"s":"\u00g0"}`, "hex"},
		{"lone high surrogate", `{"s":"\ud83d"}`, "surrogate"},
		{"high surrogate then letter", `{"s":"\ud83d\u0041"}`, "surrogate"},
		{"lone low surrogate", `{"s":"\ude00"}`, "surrogate"},
		{"negative", `{"n":-1}`, "natural number"},
		{"plus", `{"n":+1}`, "natural number"},
		{"leading zero", `{"n":01}`, "leading zero"},
		{"fraction", `{"n":1.0}`, "fraction"},
		{"exponent", `{"n":1e3}`, "fraction"},
		{"above int64", `{"n":9223372036854775808}`, "2^63"},
		{"far above int64", `{"n":99999999999999999999999999}`, "2^63"},
		{"null", `{"n":null}`, "natural number"},
		{"string for number", `{"n":"1"}`, "natural number"},
		{"object for list", `{"l":{}}`, "an array"},
		{"byte order mark", "\ufeff{}", "an object"},
	} {
		_, err := walk(c.text)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%s: got %v; want a syntax error about %q", c.name, err, c.what)
		}
	}
}

func TestRefusesDuplicatesAfterEscapes(t *testing.T) {
	_, err := walk(`{"n1":1,"n\u0031":2}`)
	var twice *DuplicateError
	if !errors.As(err, &twice) || twice.Key != "n1" || twice.Offset != 8 {
		t.Fatalf("got %v", err)
	}
}

func TestRefusesForeignEncodings(t *testing.T) {
	for _, text := range []string{"{\"s\":\"\xff\"}", "{\"s\":\"\xc0\x80\"}", "{\"s\":\"\xed\xa0\x80\"}", "{}\xe2\x82"} {
		_, err := walk(text)
		var encoding *EncodingError
		if !errors.As(err, &encoding) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestAppendText(t *testing.T) {
	got := string(AppendText(nil, "a\"\\/\b\f\n\r\t\x00\x1f\x7fé\u2028<&>"))
	want := `"a\"\\/\b\f\n\r\t\u0000\u001f` + "\x7fé\u2028<&>\""
	if got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// FuzzText holds the reader against encoding/json: what we accept, it accepts
// with the same meaning, and what we write, both read back.
func FuzzText(f *testing.F) {
	for _, s := range []string{`"a"`, `"\u00e9\ud83d\ude00"`, `"\"\\\/\b\f\n\r\t"`, `"\ud800"`, "\"\x80\"", `"a`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := NewReader([]byte(text))
		if err != nil {
			if utf8.ValidString(text) {
				t.Fatalf("%q is UTF-8, yet: %v", text, err)
			}
			return
		}
		got, err := r.Text()
		if err != nil || r.End() != nil {
			return
		}
		var want string
		if err := json.Unmarshal([]byte(text), &want); err != nil || got != want {
			t.Fatalf("%q: we read %q, encoding/json %q, %v", text, got, want, err)
		}
		again, err := NewReader(AppendText(nil, got))
		if err != nil {
			t.Fatal(err)
		}
		if back, err := again.Text(); err != nil || back != got {
			t.Fatalf("%q came back as %q, %v", got, back, err)
		}
	})
}
