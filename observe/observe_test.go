package observe

import (
	"bytes"
	"math"
	"testing"
	"time"
)

func TestFormats(t *testing.T) {
	tests := []struct{ got, want string }{
		{Count(0), "0"}, {Count(999), "999"}, {Count(1948), "1,948"}, {Count(-1234567), "-1,234,567"},
		{Duration(-1), "?"}, {Duration(850 * time.Millisecond), "850ms"}, {Duration(12345 * time.Millisecond), "12.3s"},
		{Duration(21*time.Minute + 4*time.Second), "21m04s"}, {Duration(187 * time.Minute), "3h07m"},
		{Sparkline([]float64{0, 1, 2, 7}), "▁▂▃█"}, {Sparkline([]float64{3, 3}), "▁▁"},
		{Sparkline([]float64{1, math.NaN(), 2}), "▁?█"}, {Sparkline(nil), ""},
		{Clip("größer", 3), "grö"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestSparklineIsShort(t *testing.T) {
	long := make([]float64, 1000)
	for i := range long {
		long[i] = float64(i)
	}
	got := []rune(Sparkline(long))
	if len(got) != sparks || got[0] != '▁' || got[sparks-1] != '█' {
		t.Errorf("%d blocks: %q", len(got), string(got))
	}
}

func TestStepLine(t *testing.T) {
	s := Step{
		Number: 42, Total: 1000, Loss: 4.13719, Norm: 1.034, LearningRate: 3e-4,
		TokensPerSecond: 1947.6, ETA: 1264 * time.Second, StateRoot: "7d3f91aa",
	}
	want := "step 0042/1000 | loss 4.1372 | norm 1.03 | lr 3.0e-04 | 1,948 tok/s | eta 21m04s | 7d3f91aa"
	if got := s.Line(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestMeter(t *testing.T) {
	var m Meter
	if m.ETA(10) != -1 {
		t.Error("an estimate before the first step")
	}
	m.Add(10 * time.Second)
	m.Add(time.Second)
	if got := m.ETA(5); got != 5*time.Second {
		t.Errorf("the first step still counts: %v", got)
	}
	m.Add(9 * time.Second)
	if got := m.ETA(1); got != 2*time.Second {
		t.Errorf("mean %v, want 2s", got)
	}
}

func TestTable(t *testing.T) {
	got := Table([][]string{{"miner", "score"}, {"0", "1.000"}, {"12", "0.5"}}, 0, 1)
	want := []string{"miner  score", "    0  1.000", "   12    0.5"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: %q, want %q", i, got[i], want[i])
		}
	}
}

func TestTerminal(t *testing.T) {
	var plain, tty bytes.Buffer
	for _, tt := range []struct {
		w     *bytes.Buffer
		width int
		want  string
	}{
		{&plain, 0, "a\nb\n"},
		{&tty, 10, "working on\r\x1b[Ka\nworking on\r\x1b[Kb\nworking on\r\x1b[K"},
	} {
		term := &Terminal{w: tt.w, width: func() int { return tt.width }}
		if tt.width > 0 {
			term.width = func() int { return 11 }
		}
		term.Status("working on it")
		term.Line("a")
		term.Line("%s", "b")
		term.Status("")
		if got := tt.w.String(); got != tt.want {
			t.Errorf("width %d: %q, want %q", tt.width, got, tt.want)
		}
		if term.Bold("x") != "x" {
			t.Error("style without color")
		}
	}
}

func TestBar(t *testing.T) {
	for _, tt := range []struct {
		part float64
		want string
	}{{0, "────"}, {0.24, "────"}, {0.25, "━───"}, {0.99, "━━━─"}, {1, "━━━━"}, {7, "━━━━"}, {-1, "────"}, {math.NaN(), "────"}} {
		if got := Bar(tt.part, 4); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.part, got, tt.want)
		}
	}
}

func TestProgressFits(t *testing.T) {
	for width, want := range map[int]string{
		80: "━━━━━━━━━━━━━━━━────────────────  5/10  loss 4.1372",
		40: "━━━━━━━━────────  5/10  loss 4.1372",
		20: "━━━━────  5/10  los", // the words give way
	} {
		var b bytes.Buffer
		term := &Terminal{w: &b, width: func() int { return width }}
		term.Progress(0.5, "5/10", "", "loss 4.1372")
		if got := b.String(); got != want {
			t.Errorf("%d columns: %q, want %q", width, got, want)
		}
	}
}

// TestStatusIsCalm draws only what can be read, and always the end of it.
func TestStatusIsCalm(t *testing.T) {
	var b bytes.Buffer
	term := &Terminal{w: &b, width: func() int { return 80 }, drawn: time.Now().Add(time.Hour)}
	term.status = "before"
	for range 100 {
		term.Status("busy")
	}
	if b.Len() > 0 {
		t.Errorf("drawn at once: %q", &b)
	}
	term.Line("a")
	if got, want := b.String(), "\r\x1b[Ka\nbusy"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWrap(t *testing.T) {
	var b bytes.Buffer
	term := &Terminal{w: &b, width: func() int { return 12 }}
	if got := term.Fit("one | two | three"); got != "one | two" {
		t.Errorf("fitted to %q", got)
	}
	term.Wrap("  ", "one two three four-and-more-than-a-line five")
	if got, want := b.String(), "  one two\n  three\n  four-and-more-than-a-line\n  five\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
