package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"lockstep/internal/fault"
)

// EnvPrefix starts every environment variable of lockstep.
const EnvPrefix = "LOCKSTEP_"

// otherVariables are LOCKSTEP_ names that are no settings: ISA is read once by
// the command, SHARED_DATA by tests.
var otherVariables = map[string]bool{"LOCKSTEP_ISA": true, "LOCKSTEP_SHARED_DATA": true}

// Flags lists the settings that have a flag: all but lists.
func Flags() (names []string) {
	c := Default()
	for _, f := range fields(&c) {
		if f.value.Kind() != reflect.Slice {
			names = append(names, f.Flag)
		}
	}
	return names
}

// AddFlags gives fs a flag for each named setting ("seq-len"). Defaults and
// help come from the Config, so they cannot drift apart. It panics on a name
// that is no setting.
func AddFlags(fs *pflag.FlagSet, names ...string) {
	c := Default()
	byName := map[string]field{}
	for _, f := range fields(&c) {
		byName[f.Flag] = f
	}
	for _, name := range names {
		f, ok := byName[name]
		if !ok {
			panic("config: no setting " + name)
		}
		switch v := f.value.Interface().(type) {
		case string:
			fs.String(name, v, f.Help)
		case bool:
			fs.Bool(name, v, f.Help)
		case int:
			fs.Int(name, v, f.Help)
		case uint64:
			fs.Uint64(name, v, f.Help)
		case float64:
			fs.Float64(name, v, f.Help)
		case time.Duration:
			fs.Duration(name, v, f.Help)
		default:
			panic(fmt.Sprintf("config: %s has no flag form", f.Key))
		}
	}
}

// Load merges, highest first: flags that were given, LOCKSTEP_ variables, the
// one YAML file (none if path is empty), defaults. environ is os.Environ().
// Every error is fault.Config, names where the value came from, and no error
// leaves a half-filled Config behind.
func Load(fs *pflag.FlagSet, environ []string, path string) (Config, error) {
	c, _, err := load(fs, environ, path)
	return c, err
}

// Setting is one setting as it holds, as text, and where it comes from:
// "--steps", "LOCKSTEP_TRAIN_STEPS", "run.yaml:3" or "default".
type Setting struct {
	Key    string `json:"key"`
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

// Explain loads as Load does and tells where each setting comes from.
func Explain(fs *pflag.FlagSet, environ []string, path string) ([]Setting, error) {
	c, origins, err := load(fs, environ, path)
	if err != nil {
		return nil, err
	}
	var out []Setting
	for _, f := range fields(&c) {
		out = append(out, Setting{f.Key, plain(f.value), origins[f.Key]})
	}
	return out, nil
}

func load(fs *pflag.FlagSet, environ []string, path string) (Config, map[string]string, error) {
	c := Default()
	v := viper.NewWithOptions(viper.KeyDelimiter("."))
	known := fields(&c)
	for _, f := range known {
		v.SetDefault(f.Key, f.value.Interface())
		if err := v.BindEnv(f.Key, f.Env()); err != nil {
			return Config{}, nil, fault.Errorf(fault.Config, "%s: %w", f.Env(), err)
		}
		if fs == nil {
			continue
		}
		if flag := fs.Lookup(f.Flag); flag != nil {
			if err := v.BindPFlag(f.Key, flag); err != nil {
				return Config{}, nil, fault.Errorf(fault.Config, "--%s: %w", f.Flag, err)
			}
		}
	}
	if err := checkEnvironment(known, environ); err != nil {
		return Config{}, nil, err
	}
	lines := map[string]int{}
	if path != "" {
		var err error
		if lines, err = readFile(v, known, path); err != nil {
			return Config{}, nil, err
		}
	}
	err := v.Unmarshal(&c, viper.DecodeHook(mapstructure.StringToTimeDurationHookFunc()),
		func(d *mapstructure.DecoderConfig) { d.ErrorUnused = true })
	if err != nil {
		return Config{}, nil, fault.Errorf(fault.Config, "configuration: %w", oneLine(err))
	}
	origins := originsOf(known, fs, lines, path)
	for _, f := range fields(&c) {
		name := origins[f.Key]
		if _, inFile := lines[f.Key]; inFile && strings.HasPrefix(name, path+":") {
			name += ": " + f.Key
		}
		if err := f.check(name); err != nil {
			return Config{}, nil, err
		}
	}
	return c, origins, c.Validate()
}

// originsOf tells where each setting comes from.
func originsOf(known []field, fs *pflag.FlagSet, lines map[string]int, path string) map[string]string {
	origins := map[string]string{}
	for _, f := range known {
		switch line, inFile := lines[f.Key]; {
		case fs != nil && fs.Changed(f.Flag):
			origins[f.Key] = "--" + f.Flag
		case os.Getenv(f.Env()) != "":
			origins[f.Key] = f.Env()
		case inFile:
			origins[f.Key] = fmt.Sprintf("%s:%d", path, line)
		default:
			origins[f.Key] = "default"
		}
	}
	return origins
}

// oneLine folds a list of errors into a single line.
func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	return errors.New(strings.ReplaceAll(text, "decoding failed due to the following error(s): ", ""))
}

// checkEnvironment refuses LOCKSTEP_ variables that mean nothing, so that a
// misspelt one is not silently without effect, and values that are none.
func checkEnvironment(known []field, environ []string) error {
	names := make([]string, 0, len(known))
	byName := map[string]field{}
	for _, f := range known {
		names = append(names, f.Env())
		byName[f.Env()] = f
	}
	for _, kv := range environ {
		name, text, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, EnvPrefix) || otherVariables[name] {
			continue
		}
		f, ok := byName[name]
		if !ok {
			return fault.Errorf(fault.Config, "environment: %s is no setting%s", name, suggest(name, names))
		}
		if text == "" {
			continue // as if it were not there
		}
		if err := checkText(f.value.Type(), text); err != nil {
			return fault.Errorf(fault.Config, "environment: %s: %w", name, err)
		}
	}
	return nil
}

// suggest names the known word that s is the last part of, or the nearest one,
// if one is near.
func suggest(s string, known []string) string {
	best, distance := "", 4
	last := strings.TrimPrefix(s, EnvPrefix)
	for _, k := range known {
		if strings.HasSuffix(k, "."+last) || strings.HasSuffix(k, "_"+last) {
			return "; did you mean " + k + "?"
		}
	}
	for _, k := range known {
		if d := editDistance(s, k); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance is Levenshtein's, by one row of the table.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
