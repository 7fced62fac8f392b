package stream

import (
	"fmt"
	"strings"
	"testing"

	"lockstep/internal/fault"
)

func TestTxtRowsAreParagraphs(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"two paragraphs":      {"one\ntwo\n\nthree\n", []string{"one\ntwo", "three"}},
		"no line feed at end": {"one\n\ntwo", []string{"one", "two"}},
		"many blank lines":    {"\n\n \t\none\n\n\n\ntwo\n\n", []string{"one", "two"}},
		"CRLF":                {"one\r\ntwo\r\n\r\nthree\r\n", []string{"one\r\ntwo", "three"}},
		"spaces stay":         {"  one  \n two \n\n", []string{"  one  \n two "}},
		"byte order mark":     {"\xEF\xBB\xBFone\n\n\xEF\xBB\xBFtwo", []string{"one", "\xEF\xBB\xBFtwo"}},
		"only a mark":         {"\xEF\xBB\xBF\n\none", []string{"one"}},
	} {
		rows := all(t, open(t, write(t, t.TempDir(), "a.txt", []byte(c.file))))
		if len(rows) != len(c.want) {
			t.Errorf("%s: %d rows: %+v", name, len(rows), rows)
			continue
		}
		for i, row := range rows {
			if row.Text != c.want[i] {
				t.Errorf("%s: row %d is %q, want %q", name, i, row.Text, c.want[i])
			}
		}
	}
}

func TestJSONLRows(t *testing.T) {
	file := strings.Join([]string{
		"\xEF\xBB\xBF" + `{"text": "first", "n": 1}`,
		``,
		` {"id": {"text": "not this"}, "text": "line\nfeed \u00e9 \ud83d\ude00"}` + "\r",
		`{"text": null}`,
		`{"text": ""}`,
		`{"text": "half \ud83d a pair"}`,
		"{\"text\": \"byte \xff\"}",
		`{"text": "one", "text": "two"}`,
		`{"text": "escaped \\ud800"}`,
	}, "\n")
	want := []struct {
		text   string
		defect Defect
	}{
		{"first", Intact}, {"line\nfeed é 😀", Intact}, {"", Null}, {"", Empty}, {"", NotUTF8}, {"", NotUTF8}, {"two", Intact},
		{`escaped \ud800`, Intact},
	}
	for i, row := range all(t, open(t, write(t, t.TempDir(), "a.jsonl", []byte(file)))) {
		if row.Text != want[i].text || row.Defect != want[i].defect {
			t.Errorf("row %d: %q %v, want %+v", i, row.Text, row.Defect, want[i])
		}
	}
}

func TestJSONLDamageNamesTheLine(t *testing.T) {
	good := `{"text": "good"}` + "\n\n"
	for bad, want := range map[string]string{
		`{"text": "cut of`:     "cut off",
		`{"text": "a"} {}`:     "not a JSON object",
		`{"Text": "a", "b":1}`: `no member "text"; the members are "Text", "b"`,
		`{"text": 12}`:         "not a string",
		`{"text": ["a"]}`:      "not a string",
		`{}`:                   "none",
		`null`:                 "null",
		`["text"]`:             "not a JSON object",
		`{"text": "a\x"}`:      "not a JSON object",
	} {
		path := write(t, t.TempDir(), "a.jsonl", []byte(good+bad))
		src := open(t, path)
		if row, err := src.Text(ctx, 0); err != nil || row.Text != "good" {
			t.Errorf("%s: the good row: %+v, %v", bad, row, err)
		}
		_, err := src.Text(ctx, 1)
		if fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), path+": line 3: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestLongLines: a line longer than the read buffer is one row, a line above
// the limit is damage that names it.
func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	folder := t.TempDir()
	src := open(t, write(t, folder, "a.jsonl", fmt.Appendf(nil, "{\"text\":\"%s\"}\n{\"text\":\"short\"}\n", long)))
	if rows := all(t, src); len(rows) != 2 || rows[0].Text != long || rows[1].Text != "short" {
		t.Errorf("%d rows", len(rows))
	}
	if testing.Short() {
		t.Skip("needs 130 MB of disk")
	}
	huge := strings.Repeat("x", maxRow)
	_, err := Open(ctx, write(t, folder, "b.jsonl", []byte("{}\n\""+huge+"\"\n")))
	if fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a line above the limit: %v", err)
	}
	_, err = Open(ctx, write(t, folder, "b.txt", []byte("one\n\n"+huge[1<<20:]+"\n"+huge[:2<<20])))
	if fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("a paragraph above the limit: %v", err)
	}
}
