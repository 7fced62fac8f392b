package f32

import (
	"strings"
	"testing"

	"lockstep/internal/fault"
)

// TestN24_ForcedISA: every available ISA can be forced by name, and another
// name is an error that says what there is and leaves the choice alone.
func TestN24_ForcedISA(t *testing.T) {
	defer ForTest(Active())()
	for _, isa := range Available() {
		if err := Select(isa.String()); err != nil || Active() != isa {
			t.Errorf("Select(%q): %v, active %s", isa, err, Active())
		}
	}
	before := Active()
	missing := []string{"avx1024", "AVX2", "neon", "avx2", "avx512"}
	for _, isa := range Available() {
		for i, name := range missing {
			if name == isa.String() {
				missing[i] = "none"
			}
		}
	}
	for _, name := range missing {
		err := Select(name)
		if fault.KindOf(err) != fault.Config || !strings.Contains(err.Error(), "portable") {
			t.Errorf("Select(%q): %v", name, err)
		}
	}
	if Active() != before {
		t.Errorf("a refused name changed the ISA to %s", Active())
	}
	if err := Select(""); err != nil || Active() != Available()[len(Available())-1] {
		t.Errorf("Select(\"\"): %v, active %s", err, Active())
	}
}
