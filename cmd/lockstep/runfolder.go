package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/stream"
)

// settingsFile holds a run folder's settings: for its nodes, for verify, and for
// the command that goes on with the run.
const settingsFile = "lockstep.yaml"

// resumeFlag is the switch that lets a command go on with the run in --dir.
const resumeFlag = "resume"

func addResume(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool(resumeFlag, false, "go on with the run in --dir, with its settings; begin it if the folder holds none")
}

// load merges the settings of a command line. With --resume and without
// --config, those saved in the run folder take the file's place: whatever is
// said beside them must agree with the run.
func (a *app) load(cmd *cobra.Command) (config.Config, error) {
	c, err := config.Load(cmd.Flags(), os.Environ(), a.configFile)
	resume := cmd.Flags().Lookup(resumeFlag)
	if err != nil || resume == nil || resume.Value.String() != "true" {
		return c, err
	}
	if c.Output.Dir == "" {
		return c, fault.Errorf(fault.Config, "--resume needs --dir: the folder of the run to go on with")
	}
	saved := filepath.Join(c.Output.Dir, settingsFile)
	if a.configFile != "" || !exists(saved) {
		return c, nil
	}
	return config.Load(cmd.Flags(), os.Environ(), saved)
}

// exists reports whether something is there, as far as one can see.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// saveSettings writes a run's settings into its folder, in a form that holds
// wherever the next command is started: paths are absolute, and what follows
// from the folder itself is left out.
func saveSettings(dir string, c config.Config) error {
	c.Output = config.Output{}
	var paths []*string
	if c.Protocol.Data != stream.BuiltinName && exists(c.Protocol.Data) {
		paths = append(paths, &c.Protocol.Data)
	}
	for _, name := range []*string{&c.Protocol.Model, &c.Protocol.Init} {
		if ref, err := hub.ParseModel(*name); err == nil && ref.Kind == hub.InFolder {
			paths = append(paths, name)
		}
	}
	for _, path := range []*string{&c.Hub.Dir, &c.Hub.Token, &c.Fetch.Cache} {
		if *path != "" && *path != noCache {
			paths = append(paths, path)
		}
	}
	for _, p := range paths {
		absolute, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = absolute
	}
	return config.Save(filepath.Join(dir, settingsFile), c)
}

// refuseSecondRun is the answer to a command that would begin a run in the
// folder of another.
func refuseSecondRun(dir string) error {
	return fault.Errorf(fault.Config, "--dir %s holds a run already; --resume goes on with it, another folder begins a new one", dir)
}
