package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/hub"
	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/model"
	"lockstep/observe"
)

// goldenChain is what `lockstep hash` prints for nano on every machine that
// keeps the contract. A variable, so that a test can falsify it.
//
//go:embed golden/chain-nano.txt
var goldenChain []byte

// checkup is the result of `lockstep doctor`.
type checkup struct {
	machineInfo
	Target    string       `json:"target"`
	Features  []string     `json:"features"`
	Available []string     `json:"isa_available"`
	Contract  string       `json:"contract"`
	Numerics  numerics     `json:"numerics"`
	Memory    requirement  `json:"memory"`
	Parts     model.Memory `json:"memory_parts"`
	Disk      requirement  `json:"disk"`
	Fit       bool         `json:"fit"`
}

// numerics is the outcome of the golden chain.
type numerics struct {
	OK         bool    `json:"ok"`
	Seconds    float64 `json:"seconds"`
	Difference string  `json:"difference,omitempty"` // the first line that differs
}

// requirement compares what a run takes with what is free.
type requirement struct {
	For    string `json:"for"`
	Needed int64  `json:"needed_bytes"`
	Free   int64  `json:"free_bytes"` // 0: unknown
	OK     bool   `json:"ok"`
}

func require(what string, needed, free int64) requirement {
	return requirement{For: what, Needed: needed, Free: free, OK: free == 0 || needed <= free}
}

func (a *app) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Check that this machine can take part",
		GroupID: "check",
		Args:    cobra.NoArgs,
		Long: `Show the processor, the kernels chosen for it, and what a run of a model takes
in memory and on disk; and compute three epochs of nano, whose digests are known.

Exit codes: 4 where memory or disk do not suffice, 12 where a digest differs:
then nothing that this machine computes can be compared with others.`,
		Example: `  lockstep doctor
  lockstep doctor --model distilgpt2 --batch 4 --seq-len 256 --dir /data/run
  LOCKSTEP_ISA=portable lockstep doctor --json`,
	}
	config.AddFlags(cmd.Flags(), "model", "batch", "seq-len", "micro-batch", "dir", "threads", "json")
	cmd.RunE = a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		t.Status("computing the golden chain")
		r, err := examine(ctx, c)
		t.Status("")
		if err != nil {
			return err
		}
		if c.Output.JSON {
			err = a.printJSON(r)
		} else {
			for _, line := range observe.Table(r.table()) {
				fmt.Fprintln(a.stdout, line)
			}
		}
		if err != nil {
			return err
		}
		return r.fault()
	})
	return cmd
}

// examine looks at the machine and runs the golden chain.
func examine(ctx context.Context, c config.Config) (*checkup, error) {
	r := &checkup{
		machineInfo: thisMachine(c), Target: runtime.GOOS + "/" + runtime.GOARCH,
		Features: append([]string{}, f32.Features()...), Contract: merkle.Contract,
	}
	for _, isa := range f32.Available() {
		r.Available = append(r.Available, isa.String())
	}
	arch, err := architecture(ctx, c.Protocol.Model)
	if err != nil {
		return nil, err
	}
	fill(&c, arch)
	batch, t := c.Train.Batch, c.Protocol.SeqLen
	if t > arch.Positions {
		return nil, fault.Errorf(fault.Config, "sequences of %d tokens; the model has n_positions %d", t, arch.Positions)
	}
	r.Parts = model.TrainingMemory(arch, batch, t, c.Node.MicroBatch)
	r.Memory = require(fmt.Sprintf("%s, %d sequences of %d tokens", c.Protocol.Model, batch, t), r.Parts.Total()+kernelMemory, freeMemory())
	dir := c.Output.Dir
	if dir == "" {
		dir = "."
	}
	// A saved state is three vectors; the next one is written before the last one
	// goes. A checkpoint is one more.
	free, _ := hub.FreeSpace(existing(dir))
	r.Disk = require("a saved state, its successor and a checkpoint in "+dir, 7*r.Parts.Parameters, int64(free))
	r.Numerics, err = goldenTest(ctx)
	r.Fit = r.Numerics.OK && r.Memory.OK && r.Disk.OK
	return r, err
}

// kernelMemory is what the process takes besides: code, packed operands, the
// runtime.
const kernelMemory = 64 << 20

// goldenTest computes the chain of nano and compares it.
func goldenTest(ctx context.Context) (numerics, error) {
	c := config.Default()
	b, err := assemble(ctx, &c, nil, func(config.Config) int { return 1 }, func(c config.Config) int { return c.Protocol.Sequences })
	if err != nil {
		return numerics{}, err
	}
	defer b.close()
	var chain bytes.Buffer
	start := time.Now()
	err = hashChain(ctx, c, b, goldenEpochs, func(epoch uint64, stage string, d merkle.Digest) {
		fmt.Fprintf(&chain, chainLine, epoch, stage, d)
	})
	if err != nil {
		return numerics{}, err
	}
	difference := firstDifferentLine(chain.String(), string(goldenChain))
	return numerics{OK: difference == "", Seconds: time.Since(start).Seconds(), Difference: difference}, nil
}

// goldenEpochs is how many epochs the golden chain has.
const goldenEpochs = 3

// firstDifferentLine describes the first line in which two texts differ, or
// returns "".
func firstDifferentLine(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var a, b string
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return fmt.Sprintf("line %d is %q, the contract's is %q", i+1, a, b)
		}
	}
	return ""
}

// fault is the error that the command ends in: the gravest first.
func (r *checkup) fault() error {
	switch {
	case !r.Numerics.OK:
		return fault.Errorf(fault.SelfTest, "this machine (%s) does not reproduce the contract %s: %s; "+
			"try LOCKSTEP_ISA=portable, which tells the kernels from the machine", r.ISA, r.Contract, r.Numerics.Difference)
	case !r.Memory.OK:
		return fault.Errorf(fault.Environment, "%s of memory for %s, and %s is free; a smaller --micro-batch, --batch or --seq-len takes less",
			size(r.Memory.Needed), r.Memory.For, size(r.Memory.Free))
	case !r.Disk.OK:
		return fault.Errorf(fault.Environment, "%s of disk for %s, and %s is free; name another folder with --dir",
			size(r.Disk.Needed), r.Disk.For, size(r.Disk.Free))
	}
	return nil
}

func (r *checkup) table() [][]string {
	verdict := map[bool]string{true: "ok", false: "FAILED"}
	line := func(q requirement) string {
		free := "how much is free is unknown"
		if q.Free > 0 {
			free = size(q.Free) + " free"
		}
		return fmt.Sprintf("%s: %s for %s; %s", verdict[q.OK], size(q.Needed), q.For, free)
	}
	chain := fmt.Sprintf("%s: golden chain of nano in %.1f s", verdict[r.Numerics.OK], r.Numerics.Seconds)
	if !r.Numerics.OK {
		chain += "; " + r.Numerics.Difference
	}
	return [][]string{
		{"processor", fmt.Sprintf("%s, %s, %d threads", r.CPU, r.Target, r.Threads)},
		{"extensions", strings.Join(r.Features, " ")},
		{"kernels", fmt.Sprintf("%s (available: %s)", r.ISA, strings.Join(r.Available, " "))},
		{"contract", r.Contract},
		{"numerics", chain},
		{"memory", line(r.Memory)},
		{"disk", line(r.Disk)},
	}
}

// size writes bytes as GiB, or as MiB where they are few.
func size(n int64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
