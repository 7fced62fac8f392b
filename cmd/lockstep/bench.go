package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/internal/f32"
	"lockstep/internal/fault"
	"lockstep/observe"
)

// machineInfo begins every result: what was measured on.
type machineInfo struct {
	CPU     string `json:"cpu"`
	ISA     string `json:"isa"`
	Threads int    `json:"threads"`
}

// measurement is a benchmark's result: printed as JSON as it is, or as a table.
type measurement interface {
	table() [][]string // first row: heads
}

// benchmark is one thing that can be measured.
type benchmark struct {
	name  string
	about string
	run   func(ctx context.Context, s benchSettings) (measurement, error)
}

// benchmarks in the order in which `lockstep bench` runs them.
var benchmarks = []benchmark{
	{"gemm", "matrix products of GPT-2's shapes", benchGEMM},
	{"step", "training steps: forward, backward, average, AdamW", benchStep},
	{"generate", "prompt processing and greedy decoding", benchGenerate},
	{"reduce", "the sum over peers that a part's owner computes", benchReduce},
	{"hash", "digests of a gradient's leaves, and their root", benchHash},
}

// benchSettings is what the command line says. Every benchmark gets a copy.
type benchSettings struct {
	config    config.Config
	runs      int
	machine   machineInfo
	status    func(format string, args ...any)
	peakIsOwn bool // the process's peak of memory is this benchmark's
}

func (a *app) bench() *cobra.Command {
	var runs int
	var names []string
	for _, b := range benchmarks {
		names = append(names, b.name)
	}
	cmd := &cobra.Command{
		Use:       "bench [" + strings.Join(names, "|") + "]",
		Short:     "Measure this machine's speed",
		GroupID:   "check",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names,
		Long:      benchHelp(),
		Example: `  lockstep bench step --model distilgpt2 --batch 4 --seq-len 256
  lockstep bench gemm --threads 1 --json
  lockstep bench`,
	}
	config.AddFlags(cmd.Flags(), "model", "batch", "seq-len", "seed", "threads", "json")
	cmd.Flags().IntVar(&runs, "runs", 11, "repetitions, after one that is not counted; the median is shown")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
			if runs < 1 || runs > 1000 {
				return fault.Errorf(fault.Usage, "--runs is %d; it must be 1 to 1000", runs)
			}
			return a.measure(ctx, args, benchSettings{config: c, runs: runs, machine: thisMachine(c), status: t.Status})
		})(cmd, args)
	}
	return cmd
}

func benchHelp() string {
	var b strings.Builder
	b.WriteString("Measure one of the following, or all of them in turn.\n\n")
	for _, m := range benchmarks {
		fmt.Fprintf(&b, "  %-9s %s\n", m.name, m.about)
	}
	b.WriteString(`
Numbers are medians; gemm's mean is the geometric one of the eighteen products
above it. Ratios compare things measured in turn, so that other work
on the machine touches both.`)
	return b.String()
}

// measure runs the named benchmark, or all.
func (a *app) measure(ctx context.Context, names []string, s benchSettings) error {
	all := map[string]measurement{}
	s.peakIsOwn = true
	for _, b := range benchmarks {
		if len(names) > 0 && names[0] != b.name {
			continue
		}
		if len(all) > 0 {
			s.peakIsOwn = forgetPeakRSS()
		}
		m, err := b.run(ctx, s)
		s.status("")
		if err != nil {
			return err
		}
		all[b.name] = m
		if s.config.Output.JSON {
			continue
		}
		fmt.Fprintf(a.stdout, "%s: %s; %s, %d threads\n", b.name, s.machine.CPU, s.machine.ISA, s.machine.Threads)
		for _, line := range observe.Table(m.table(), 1, 2, 3, 4) {
			fmt.Fprintln(a.stdout, "  "+line)
		}
	}
	switch {
	case !s.config.Output.JSON:
		return nil
	case len(names) > 0:
		return a.printJSON(all[names[0]])
	}
	return a.printJSON(all)
}

func thisMachine(c config.Config) machineInfo {
	threads := c.Node.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return machineInfo{CPU: cpuName(), ISA: f32.Active().String(), Threads: threads}
}

// cpuName is what the system calls the processor, or its architecture.
func cpuName() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			if strings.TrimSpace(key) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}

// peakRSS is the most memory that this process has held in this benchmark, in
// bytes; 0 where the system does not tell, or has not forgotten the one before.
func (s benchSettings) peakRSS() int64 {
	if !s.peakIsOwn {
		return 0
	}
	return procBytes("/proc/self/status", "VmHWM")
}

// forgetPeakRSS gives unused memory back and makes the peak the memory that is
// then held (proc(5), clear_refs). It reports whether the system does that.
func forgetPeakRSS() bool {
	debug.FreeOSMemory()
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil
}

// memorySize writes bytes of memory, or that their number is unknown.
func memorySize(n int64) string {
	if n == 0 {
		return "unknown"
	}
	return size(n)
}

// procBytes reads a line such as "VmHWM:   123 kB" from a file of /proc.
func procBytes(path, key string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		var kilobytes int64
		if name == key {
			if n, _ := fmt.Sscanf(value, "%d kB", &kilobytes); n == 1 {
				return kilobytes << 10
			}
		}
	}
	return 0
}

// timed returns how long f took.
func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// median returns the middle one of durations, in seconds.
func median(d []time.Duration) float64 {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2].Seconds()
}
