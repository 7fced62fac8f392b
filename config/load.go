package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"lockstep/internal/fault"
)

// EnvPrefix starts every environment variable of lockstep.
const EnvPrefix = "LOCKSTEP_"

// otherVariables are LOCKSTEP_ names that are no settings: ISA is read once by
// the command, SHARED_DATA by tests.
var otherVariables = map[string]bool{"LOCKSTEP_ISA": true, "LOCKSTEP_SHARED_DATA": true}

// maxFile caps the configuration file.
const maxFile = 1 << 20

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
	c := Default()
	v := viper.NewWithOptions(viper.KeyDelimiter("."))
	known := fields(&c)
	for _, f := range known {
		v.SetDefault(f.Key, f.value.Interface())
		if err := v.BindEnv(f.Key, f.Env()); err != nil {
			return Config{}, fault.Errorf(fault.Config, "%s: %w", f.Env(), err)
		}
		if fs == nil {
			continue
		}
		if flag := fs.Lookup(f.Flag); flag != nil {
			if err := v.BindPFlag(f.Key, flag); err != nil {
				return Config{}, fault.Errorf(fault.Config, "--%s: %w", f.Flag, err)
			}
		}
	}
	if err := checkEnvironment(known, environ); err != nil {
		return Config{}, err
	}
	if path != "" {
		if err := readFile(v, known, path); err != nil {
			return Config{}, err
		}
	}
	err := v.Unmarshal(&c, viper.DecodeHook(mapstructure.ComposeDecodeHookFunc(
		strictNumbers, mapstructure.StringToTimeDurationHookFunc())),
		func(d *mapstructure.DecoderConfig) { d.ErrorUnused = true })
	if err != nil {
		return Config{}, fault.Errorf(fault.Config, "configuration%s: %w", in(path), oneLine(err))
	}
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func in(path string) string {
	if path == "" {
		return ""
	}
	return " (" + path + ")"
}

// oneLine folds mapstructure's list of errors into a single line.
func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	return errors.New(strings.ReplaceAll(text, "decoding failed due to the following error(s): ", ""))
}

// checkEnvironment refuses LOCKSTEP_ variables that mean nothing, so that a
// misspelt one is not silently without effect.
func checkEnvironment(known []field, environ []string) error {
	names := make([]string, 0, len(known))
	for _, f := range known {
		names = append(names, f.Env())
	}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, EnvPrefix) && !otherVariables[name] && !contains(names, name) {
			return fault.Errorf(fault.Config, "environment: %s is no setting%s", name, suggest(name, names))
		}
	}
	return nil
}

// readFile reads the YAML file into v after checking its keys by hand: viper
// folds case, merges twins and ignores what it does not know.
func readFile(v *viper.Viper, known []field, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fault.Errorf(fault.Config, "configuration file: %w", err)
	}
	if info.Size() > maxFile {
		return fault.Errorf(fault.Config, "configuration file %s: %d bytes; at most %d are read", path, info.Size(), maxFile)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fault.Errorf(fault.Config, "configuration file: %w", err)
	}
	var sections map[string]yaml.Node
	if err := yaml.Unmarshal(raw, &sections); err != nil {
		return fault.Errorf(fault.Config, "configuration file %s: %w", path, oneLine(err))
	}
	if err := checkKeys(known, sections, path); err != nil {
		return err
	}
	v.SetConfigFile(path)
	v.SetConfigType("yaml")
	if err := v.ReadInConfig(); err != nil {
		return fault.Errorf(fault.Config, "configuration file %s: %w", path, oneLine(err))
	}
	return nil
}

// checkKeys reports the first key of the file, by line, that means nothing.
func checkKeys(known []field, sections map[string]yaml.Node, path string) error {
	names := make([]string, 0, len(known))
	for _, f := range known {
		names = append(names, f.Key)
	}
	worst, line := "", math.MaxInt // whatever the map's order
	note := func(key string, at int) {
		if at < line {
			worst, line = key, at
		}
	}
	for section, node := range sections {
		if node.Kind != yaml.MappingNode || !hasSection(names, section) && len(node.Content) == 0 {
			note(section, node.Line)
			continue
		}
		for i := 0; i < len(node.Content); i += 2 { // key, value, key, value
			if key := section + "." + node.Content[i].Value; !contains(names, key) {
				note(key, node.Content[i].Line)
			}
		}
	}
	if worst != "" {
		return fault.Errorf(fault.Config, "%s:%d: unknown key %s%s", path, line, worst, suggest(worst, names))
	}
	return twins(sections, path)
}

// twins refuses a key that stands twice in a section: YAML forbids it, and
// the reader behind it would take either.
func twins(sections map[string]yaml.Node, path string) error {
	for _, node := range sections {
		seen := map[string]bool{}
		for i := 0; i < len(node.Content); i += 2 {
			key := node.Content[i]
			if seen[key.Value] {
				return fault.Errorf(fault.Config, "%s:%d: key %s is already defined above", path, key.Line, key.Value)
			}
			seen[key.Value] = true
		}
	}
	return nil
}

func hasSection(names []string, section string) bool {
	for _, n := range names {
		if strings.HasPrefix(n, section+".") {
			return true
		}
	}
	return false
}

// strictNumbers stops the conversions that would train with another number:
// fractions cut to integers, bare numbers as nanoseconds, octal-looking text.
func strictNumbers(from, to reflect.Type, data any) (any, error) {
	switch {
	case to == reflect.TypeFor[time.Duration]():
		if s, ok := data.(string); ok {
			if _, err := strconv.ParseFloat(s, 64); err == nil {
				return nil, fmt.Errorf("%q is a duration without a unit; write 30s or 2m", s)
			}
		} else if from != to {
			return nil, fmt.Errorf("%v is a duration without a unit; write 30s or 2m", data)
		}
	case isInteger(to.Kind()):
		if f, ok := data.(float64); ok && f != math.Trunc(f) {
			return nil, fmt.Errorf("%v is not a whole number", f)
		}
		if s, ok := data.(string); ok {
			if len(s) > 1 && s[0] == '0' {
				return nil, fmt.Errorf("%q starts with 0; write the number in decimal", s)
			}
			if _, err := strconv.ParseInt(s, 10, 64); err != nil {
				if _, err := strconv.ParseUint(s, 10, 64); err != nil {
					return nil, fmt.Errorf("%q is not a whole number", s)
				}
			}
		}
	}
	return data, nil
}

func isInteger(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Uint64 }

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
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
