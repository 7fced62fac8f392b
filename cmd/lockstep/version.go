package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/internal/f32"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
	"lockstep/observe"
)

// versionInfo is what `lockstep version` prints.
type versionInfo struct {
	Version   string   `json:"version"`
	Commit    string   `json:"commit,omitempty"`
	Modified  bool     `json:"modified,omitempty"`
	Go        string   `json:"go"`
	Target    string   `json:"target"`
	GOAMD64   string   `json:"goamd64,omitempty"`
	ISA       string   `json:"isa"`
	Available []string `json:"isa_available"`
	Contract  string   `json:"contract"`
	RunFormat string   `json:"run_format"`
}

func (a *app) version() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print version, contract and instruction set",
		GroupID: "use",
		Args:    cobra.NoArgs,
		Example: "  lockstep version\n  lockstep version --json\n  LOCKSTEP_ISA=portable lockstep version",
	}
	config.AddFlags(cmd.Flags(), "json")
	cmd.RunE = a.runs(func(_ context.Context, c config.Config, _ *observe.Terminal) error {
		v := currentVersion()
		if c.Output.JSON {
			return a.printJSON(v)
		}
		fmt.Fprintf(a.stdout, "lockstep %s, %s, %s\ncontract %s, run format %s\nkernels %s (available: %v)\n",
			v.Version, v.Go, v.Target, v.Contract, v.RunFormat, v.ISA, v.Available)
		return nil
	})
	return cmd
}

func currentVersion() versionInfo {
	v := versionInfo{
		Version: "(devel)", Go: runtime.Version(), Target: runtime.GOOS + "/" + runtime.GOARCH,
		ISA: f32.Active().String(), Contract: merkle.Contract, RunFormat: spec.Format,
	}
	for _, isa := range f32.Available() {
		v.Available = append(v.Available, isa.String())
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		case "GOAMD64":
			v.GOAMD64 = s.Value
		}
	}
	return v
}

// printJSON writes one object and a newline on stdout.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
