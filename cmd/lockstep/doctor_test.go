package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/testdata"
	"lockstep/model"
)

// TestDoctor: a sound machine is fit for nano, and the report says on what it
// rests.
func TestDoctor(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"doctor", "--json", "--dir", filepath.Join(t.TempDir(), "not", "there")}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	var r checkup
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if !r.Fit || !r.Numerics.OK || !slices.Contains(r.Available, r.ISA) || r.Contract == "" || r.Memory.Needed < 1<<20 || r.Disk.Needed < 1<<10 {
		t.Errorf("%s", &out)
	}
	out.Reset()
	if code := run([]string{"doctor"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "golden chain of nano") {
		t.Errorf("exit code %d: %s", code, &out)
	}
}

// TestDoctorFindsWrongBits falsifies the golden chain: one digit, and one line
// too many.
func TestDoctorFindsWrongBits(t *testing.T) {
	golden := goldenChain
	defer func() { goldenChain = golden }()
	digit := bytes.Clone(golden)
	digit[len(digit)-2] ^= 1
	for _, wrong := range [][]byte{digit, append(bytes.Clone(golden), "4   tag\n"...)} {
		goldenChain = wrong
		var out, errs bytes.Buffer
		if code := run([]string{"doctor"}, &out, &errs); code != 12 || !strings.Contains(out.String(), "FAILED: golden chain") || !strings.Contains(errs.String(), "line ") {
			t.Errorf("exit code %d: %s%s", code, &out, &errs)
		}
	}
}

// TestDoctorKnowsTheGoldenChain: the embedded chain is the published one.
func TestDoctorKnowsTheGoldenChain(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(testdata.Root(), "testdata", "golden", "chain-nano.txt"))
	if err != nil || !bytes.Equal(want, goldenChain) {
		t.Errorf("golden/chain-nano.txt is not testdata's (%v)", err)
	}
}

// TestDoctorReadsTheConfigAlone: of a model in a folder, whose weights may be
// large or not there yet, the shape is enough.
func TestDoctorReadsTheConfigAlone(t *testing.T) {
	arch, _ := model.Builtin("tiny")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), arch.JSON(), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"doctor", "--json", "--model", dir, "--batch", "8", "--seq-len", "256", "--micro-batch", "1"}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	var r checkup
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Parts != model.TrainingMemory(arch, 8, 256, 1) {
		t.Errorf("%+v (%v)", r.Parts, err)
	}
	if more := model.TrainingMemory(arch, 8, 256, 4); r.Parts.Total() >= more.Total() {
		t.Errorf("a sequence at a time takes %d bytes, four %d", r.Parts.Total(), more.Total())
	}
}

// TestMemoryLimits: what distilgpt2 takes, as doctor counts it.
func TestMemoryLimits(t *testing.T) {
	arch, _ := model.Builtin("distilgpt2")
	for _, tt := range []struct {
		b, t  int
		limit float64 // GiB
	}{{4, 256, 2.2}, {8, 1024, 3}} {
		if n := model.TrainingMemory(arch, tt.b, tt.t, 0).Total() + kernelMemory; float64(n) >= tt.limit*(1<<30) {
			t.Errorf("%d sequences of %d tokens take %s, more than %.1f GiB", tt.b, tt.t, size(n), tt.limit)
		}
	}
}

func TestDoctorFindsTooLittle(t *testing.T) {
	sound := checkup{Numerics: numerics{OK: true}, Memory: require("a run", 5, 7), Disk: require("files", 5, 0)}
	if err := sound.fault(); err != nil {
		t.Error(err)
	}
	little, full := sound, sound
	little.Memory = require("a run", 8<<30, 7<<30)
	full.Disk = require("files", 8<<30, 7<<30)
	for _, r := range []checkup{little, full} {
		if err := r.fault(); fault.KindOf(err) != fault.Environment || !strings.Contains(err.Error(), "8.00 GiB") || !strings.Contains(err.Error(), "7.00 GiB is free") {
			t.Errorf("%v", err)
		}
	}
	if _, err := os.Stat("/proc/meminfo"); err == nil && freeMemory() < 1<<20 {
		t.Errorf("%d bytes free", freeMemory())
	}
	group := t.TempDir()
	for name, text := range map[string]string{"memory.max": "1000\n", "memory.current": "400\n"} {
		if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := groupMemory(group); got != 600 {
		t.Errorf("a group of 1000 that uses 400 has %d left", got)
	}
	if err := os.WriteFile(filepath.Join(group, "memory.max"), []byte("max\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := groupMemory(group); got != 0 {
		t.Errorf("a group without limit has %d left", got)
	}
}
