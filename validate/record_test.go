package validate

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/reduce/commit"
	"lockstep/validate/ledger"
)

// record is epoch 1 of a world: three honest seats, one of them convicted in
// the round, and seat 3 absent.
func (w *world) record(t testing.TB, previous []Score) *Record {
	t.Helper()
	g, attempt := w.attempt(t)
	header := w.base.Header()
	header.Epoch++
	r := &Record{
		Epoch: 1, Registry: []byte{1, 2, 3}, Claims: g.claims, Attempts: []Attempt{attempt},
		Verdicts: []*Evidence{w.honest(t), w.random(t), w.switched(t)},
		State:    &header, Nonce: Nonce{7},
		Measures: []Measure{exact(0, 100, 100, 10), exact(1, 100, 100, 10), exact(2, 50, 50, 10), {UID: 3}},
	}
	r.Measures[1].Exact, r.Measures[1].False = false, true
	r.Measures[2].False = true
	r.Scores = scoreEpoch2(t, r.Measures, previous)
	return r
}

func scoreEpoch2(t testing.TB, measures []Measure, previous []Score) []Score {
	t.Helper()
	scores, err := ScoreEpoch(measures, previous)
	if err != nil {
		t.Fatal(err)
	}
	return scores
}

// recorded is the folder of a ledger with epochs 0 and 1.
func recorded(t testing.TB, w *world) (dir string, r *Record) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ledger")
	r = w.record(t, nil)
	appendRecords(t, dir, &Record{Run: w.run}, r)
	return dir, r
}

func appendRecords(t testing.TB, dir string, records ...*Record) {
	t.Helper()
	l, _, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, r := range records {
		entries, err := r.Entries()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append(entries...); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecord(t *testing.T) {
	w := newWorld(t)
	dir, r := recorded(t, w)
	report, err := CheckLedger(dir)
	if err != nil || report.Epoch != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	next := &Record{Epoch: 2, Measures: []Measure{exact(0, 1, 1, 1)}}
	next.Scores = scoreEpoch2(t, next.Measures, r.Scores)
	appendRecords(t, dir, next)
	if _, err := CheckLedger(dir); err != nil {
		t.Error(err)
	}
	if s := next.Scores; len(s) != 1 || s[0].Average != 190_000 {
		t.Errorf("scores %+v after two whole epochs", s)
	}

	var kinds []string
	ledger.Walk(dir, func(e ledger.Entry) error { kinds = append(kinds, e.Kind); return nil })
	want := "run registry claim claim claim roster commitment commitment commitment set opening opening opening receipt receipt receipt vote vote vote decision " +
		"verdict verdict verdict state nonce measures scores weights measures scores weights"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("entries %s", got)
	}
}

func TestWeightsSayWhy(t *testing.T) {
	w := newWorld(t)
	r := w.record(t, nil)
	got := WeightsOf(1, r.Scores, r.Verdicts)
	want := []Zeroed{{1, "random"}, {2, "switch"}, {3, "score"}}
	if !slices.Equal(got.Zeroed, want) || !slices.Equal(got.UIDs, []uint32{0}) || !slices.Equal(got.Weights, []uint16{65535}) {
		t.Errorf("%+v", got)
	}
}

// TestLedgerLies: entries that chain well and say something else than what is
// signed or follows.
func TestLedgerLies(t *testing.T) {
	w := newWorld(t)
	dir, _ := recorded(t, w)
	var entries []ledger.Entry
	if _, err := ledger.Walk(dir, func(e ledger.Entry) error { entries = append(entries, e); return nil }); err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) func(*ledger.Entry) {
		return func(e *ledger.Entry) {
			if !bytes.Contains(e.View, []byte(old)) {
				t.Fatalf("no %q in %s", old, e.View)
			}
			e.View = bytes.Replace(e.View, []byte(old), []byte(new), 1)
		}
	}
	tests := []struct {
		name, kind string
		lie        func(*ledger.Entry)
	}{
		{"view of a claim", "claim", replace(`"sequences":24`, `"sequences":25`)},
		{"signature of a claim", "claim", func(e *ledger.Entry) { e.Signed[len(e.Signed)-1] ^= 1 }},
		{"view of a decision", "decision", replace(`"verdict":1`, `"verdict":2`)},
		{"signature of a vote", "vote", func(e *ledger.Entry) { e.Signed[len(e.Signed)-1] ^= 1 }},
		{"view of a verdict", "verdict", replace(`"exact"`, `"absent"`)},
		{"signature of a verdict", "verdict", func(e *ledger.Entry) { e.Signed[len(e.Signed)-1] ^= 1 }},
		{"a verdict without signature", "verdict", func(e *ledger.Entry) { e.Signed = nil }},
		{"a state", "state", replace(`"step":0`, `"step":1`)},
		{"a measure", "measures", replace(`"tokens":100`, `"tokens":101`)},
		{"a score", "scores", replace(`"score":1000000`, `"score":1000001`)},
		{"a weight", "weights", replace(`65535`, `65534`)},
		{"a reason", "weights", replace(`"random"`, `"score"`)},
		{"signed scores", "scores", func(e *ledger.Entry) { e.Signed = []byte{1} }},
		{"no scores at all", "scores", func(e *ledger.Entry) { e.View = []byte(`{}`) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := slices.IndexFunc(entries, func(e ledger.Entry) bool { return e.Kind == tt.kind })
			lied := slices.Clone(entries)
			lied[i].Signed, lied[i].View = bytes.Clone(lied[i].Signed), bytes.Clone(lied[i].View)
			tt.lie(&lied[i])
			dir := filepath.Join(t.TempDir(), "ledger")
			l, _, err := ledger.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := l.Append(lied...); err != nil {
				t.Fatal(err)
			}
			if _, err := ledger.Check(dir); err != nil {
				t.Fatalf("the chain is broken: %v", err)
			}
			if _, err := CheckLedger(dir); fault.KindOf(err) != fault.Damaged {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestLedgerHoldsMembersToTheirCommitments: what was opened otherwise than it was
// committed may stand in a ledger, but not under an average.
func TestLedgerHoldsMembersToTheirCommitments(t *testing.T) {
	w := newWorld(t)
	g, honest := w.attempt(t)
	lies := map[string]func(*Attempt){
		"another salt": func(a *Attempt) {
			_, a.Openings = g.opened(func(o *commit.Opening) { o.Salt[31] ^= o.Salt[1] & 1 }) // of seat 1
		},
		"another root": func(a *Attempt) {
			a.Commitments, a.Openings = g.opened(func(o *commit.Opening) { o.Root[0] ^= o.Salt[1] & 1 })
		},
		"another set": func(a *Attempt) { a.Set = g.set(a.Commitments[:2]) },
	}
	for name, lie := range lies {
		a := honest
		lie(&a)
		dir := filepath.Join(t.TempDir(), "ledger")
		appendRecords(t, dir, &Record{Epoch: 1, Attempts: []Attempt{a}})
		if _, err := CheckLedger(dir); fault.KindOf(err) != fault.Damaged {
			t.Errorf("%s: %v", name, err)
		}
		if name == "another set" {
			continue
		}
		a.Decision = g.decide(t, commit.Decision{Verdict: commit.Abort, Members: []uint32{0, 1, 2}, Excluded: []commit.Exclusion{{UID: 1, Kind: commit.Recommit}}})
		dir = filepath.Join(t.TempDir(), "ledger")
		appendRecords(t, dir, &Record{Epoch: 1, Attempts: []Attempt{a, honest}})
		if _, err := CheckLedger(dir); err != nil {
			t.Errorf("%s, and the attempt is aborted: %v", name, err)
		}
	}
}

// TestLedgerIsReadable: a person finds names, not byte lists.
func TestLedgerIsReadable(t *testing.T) {
	w := newWorld(t)
	dir, _ := recorded(t, w)
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{peer(0).String(), `"outcome":"exact"`, w.base.Root().String(), `"format":"lockstep.weights/1"`} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("no %s in the ledger", want)
		}
	}
}
