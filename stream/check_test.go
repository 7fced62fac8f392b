package stream

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/testdata"
	"lockstep/stream/tokenizer"
)

func TestCheckCountsAndNamesDamage(t *testing.T) {
	noLeak(t)
	folder := t.TempDir()
	write(t, folder, "a.jsonl", []byte("{\"text\":\"one\"}\n{\"text\":null}\n{\"text\":\"\"}\n{\"text\":\"\\ud800\"}\n{\"text\":5}\n{\"text\":\"cut"))
	write(t, folder, "b.parquet", parquetBytes(t, texts(100), 30))
	cut := write(t, folder, "c.parquet", parquetBytes(t, texts(100), 30)[:500])
	write(t, folder, "d.txt", []byte("two\n\nthree\n"))
	report, err := Check(ctx, folder, tokenizer.Nano(), CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a := report.Files[0]
	if a.Rows != 6 || a.Null != 1 || a.Empty != 1 || a.NotUTF8 != 1 || a.Unreadable != 2 || a.Bytes != 3 || !strings.Contains(a.Damage, "line 5") {
		t.Errorf("a.jsonl: %+v", a)
	}
	if want := uint64(len(tokenizer.Nano().Encode("one"))) + 4; a.Tokens != want {
		t.Errorf("a.jsonl: %d tokens, want %d", a.Tokens, want)
	}
	if b := report.Files[1]; b.Rows != 100 || b.Empty != 14 || b.Damage != "" {
		t.Errorf("b.parquet: %+v", b)
	}
	if c := report.Files[2]; !strings.Contains(c.Damage, cut) || c.Rows != 0 {
		t.Errorf("c.parquet: %+v", c)
	}
	if report.Total.Rows != 108 || report.Damaged != 2 || report.Source != "mixed" || !report.Identity.IsZero() {
		t.Errorf("%+v", report)
	}
	if err := report.Err(); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "2 of 4 files") || !strings.Contains(err.Error(), "line 5") {
		t.Errorf("%v", err)
	}
}

func TestCheckOfSoundSourceHasItsIdentity(t *testing.T) {
	folder := mixedFolder(t)
	var read atomic.Int64
	report, err := Check(ctx, folder, tokenizer.Nano(), CheckOptions{Progress: func(_ string, n int) { read.Add(int64(n)) }})
	if err != nil || report.Err() != nil || report.Identity != open(t, folder).Identity() {
		t.Errorf("%+v, %v", report, err)
	}
	if uint64(read.Load()) != report.Total.Rows || report.Total.Rows != 9 {
		t.Errorf("%d rows were reported, %d read", read.Load(), report.Total.Rows)
	}
}

func TestCheckBuiltinIsBounded(t *testing.T) {
	report, err := Check(ctx, "builtin", tokenizer.Nano(), CheckOptions{Rows: 200})
	if err != nil || report.Total.Rows != 200 || report.Total.Tokens < 200*200 || report.Identity != open(t, "builtin").Identity() {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestCheckStops(t *testing.T) {
	noLeak(t)
	stopped, cancel := context.WithCancel(ctx)
	progress := func(string, int) { cancel() }
	if _, err := Check(stopped, "builtin", tokenizer.Nano(), CheckOptions{Progress: progress}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := Check(ctx, "/nowhere", tokenizer.Nano(), CheckOptions{}); fault.KindOf(err) != fault.Config {
		t.Errorf("%v", err)
	}
}

// TestCheckFineWeb: the numbers of the first ten documents of each file come
// from pyarrow 26.0.1 and Hugging Face's tokenizers 0.23.3; each row has its
// end-of-text token beside.
func TestCheckFineWeb(t *testing.T) {
	report, err := Check(ctx, testdata.Path(t, "fineweb"), gpt2(t), CheckOptions{Rows: 10})
	if err != nil || report.Err() != nil {
		t.Fatal(err, report.Err())
	}
	if c := report.Total; c.Rows != 150 || c.Tokens != 237_804+150 || c.Bytes != 1_051_376 || c.Empty+c.Null+c.NotUTF8 != 0 {
		t.Errorf("%+v", c)
	}
}

func TestShow(t *testing.T) {
	src := open(t, "builtin")
	shown, err := Show(ctx, src, gpt2(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	var joined []byte
	for _, p := range shown.Pieces {
		joined = append(joined, p...)
	}
	if string(joined) != shown.Text || len(shown.Tokens) != len(shown.Pieces) || shown.Defect != "" || shown.Digest != RowDigest(shown.Text) {
		t.Errorf("%+v", shown)
	}
	path := write(t, t.TempDir(), "a.jsonl", []byte("{\"text\":null}\n"))
	if shown, err = Show(ctx, open(t, path), gpt2(t), 0); err != nil || shown.Defect != "null" {
		t.Errorf("%+v, %v", shown, err)
	}
	if _, err = Show(ctx, src, gpt2(t), src.Rows()); err == nil {
		t.Error("a row beyond the end was shown")
	}
}

func TestUnreadableFileIsNoDamage(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("the superuser can read everything")
	}
	path := write(t, t.TempDir(), "a.txt", []byte("text"))
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, path); fault.KindOf(err) == fault.Damaged || err == nil {
		t.Errorf("%v", err)
	}
}
