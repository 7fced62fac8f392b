package stream

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unicode/utf8"
)

// FuzzJSONLine compares with encoding/json where both must agree, and asks for
// no more than survival elsewhere.
func FuzzJSONLine(f *testing.F) {
	for _, line := range []string{
		`{"text":"plain"}`, `{"text":null}`, `{"text":"a\n\u00e9\ud83d\ude00"}`, `{"text":"\ud800"}`, `{"text":"\udc00x"}`,
		`{"Text":"other case"}`, `{"text":1}`, `{"a":{"text":"inner"}}`, `{"text":"one","text":"two"}`, `[]`, `null`, `{"text":"cut`,
		"{\"text\":\"\xff\"}", `{"text":"\\ud800"}`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		text, null, err := jsonText(line)
		if err != nil || null {
			return
		}
		var members map[string]*string
		if json.Unmarshal(line, &members) != nil {
			var one map[string]any // other members need not be strings
			if json.Unmarshal(line, &one) != nil {
				t.Fatalf("%q was accepted", line)
			}
			return
		}
		want := members["text"]
		if want == nil || utf8.ValidString(text) && text != *want {
			t.Fatalf("%q gives %q", line, text)
		}
	})
}

// FuzzParquet opens mutated files. Whatever the bytes are, the answer is rows
// or damage, without much memory.
func FuzzParquet(f *testing.F) {
	for _, data := range damagedCopies(f) {
		f.Add(data)
	}
	f.Add([]byte("PAR1\x00\x00\x00\x00PAR1"))
	path := filepath.Join(f.TempDir(), "fuzz.parquet")
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := readAll(t, path)
		runtime.ReadMemStats(&after)
		mustBeDamage(t, "fuzz", path, err)
		if n := after.TotalAlloc - before.TotalAlloc; n > 2<<30 {
			t.Errorf("%d bytes of file took %d MiB", len(data), n>>20)
		}
	})
}

// FuzzTextFiles indexes mutated jsonl and txt files and reads every row.
func FuzzTextFiles(f *testing.F) {
	f.Add([]byte("{\"text\":\"one\"}\n\n{\"text\":null}\r\n"))
	f.Add([]byte("\xEF\xBB\xBFfirst\nline\n\n\n second \r\n\r\nthird"))
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"fuzz.jsonl", "fuzz.txt"} {
			path := filepath.Join(folder, name)
			if err := os.WriteFile(path, data, 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := readAll(t, path)
			mustBeDamage(t, name, path, err)
		}
	})
}
