package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"lockstep/internal/fault"
)

// field is one setting: where it lives and what may stand there.
type field struct {
	Key   string // "protocol.seq-len"
	Flag  string // "seq-len"
	Help  string
	Min   string
	Max   string
	value reflect.Value
}

// Env is the field's environment variable.
func (f field) Env() string {
	return EnvPrefix + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(f.Key))
}

// fields walks c's sections in order. It is the only list of settings: flags,
// variables, file keys and checks all come from it.
func fields(c *Config) []field {
	var out []field
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		section := v.Type().Field(i).Tag.Get("mapstructure")
		for j := range v.Field(i).NumField() {
			tag := v.Field(i).Type().Field(j).Tag
			name := tag.Get("mapstructure")
			out = append(out, field{
				Key: section + "." + name, Flag: name,
				Help: tag.Get("help"), Min: tag.Get("min"), Max: tag.Get("max"),
				value: v.Field(i).Field(j),
			})
		}
	}
	return out
}

// Validate checks every setting against its limits, and those that depend on
// each other. The error is fault.Config and names the key.
func (c *Config) Validate() error {
	for _, f := range fields(c) {
		if err := f.check(f.Key); err != nil {
			return err
		}
	}
	if c.Swarm.Cheaters >= c.Swarm.Miners {
		return fault.Errorf(fault.Config, "swarm.cheaters is %d of %d miners: at least one must be honest",
			c.Swarm.Cheaters, c.Swarm.Miners)
	}
	if c.Optimizer.LearningRate > 0 && c.Optimizer.MinRate > c.Optimizer.LearningRate {
		return fault.Errorf(fault.Config, "optimizer.min-lr %v is above optimizer.lr %v", c.Optimizer.MinRate, c.Optimizer.LearningRate)
	}
	return nil
}

// check holds the value against its limits; the error begins with name.
func (f field) check(name string) error {
	if f.Min == "" {
		return nil
	}
	var below, above bool
	switch x := f.value.Interface().(type) {
	case int:
		below, above = x < mustParse(strconv.Atoi, f.Min), x > mustParse(strconv.Atoi, f.Max)
	case float64:
		// The comparisons are written so that NaN fails them.
		below, above = !(x >= mustParse(parseFloat, f.Min)), !(x <= mustParse(parseFloat, f.Max))
	case time.Duration:
		below, above = x < mustParse(time.ParseDuration, f.Min), x > mustParse(time.ParseDuration, f.Max)
	default:
		panic(fmt.Sprintf("config: limits on %s of type %T", f.Key, x))
	}
	if below || above {
		return fault.Errorf(fault.Config, "%s is %v; it must be %s to %s", name, f.value.Interface(), f.Min, f.Max)
	}
	return nil
}

// checkText refuses text that is no value of type t, and what would train with
// another number: fractions for integers, bare numbers for durations, numbers
// that look octal.
func checkText(t reflect.Type, text string) error {
	switch kind := t.Kind(); {
	case t == reflect.TypeFor[time.Duration]():
		if _, err := time.ParseDuration(text); err != nil {
			if _, err := parseFloat(text); err == nil {
				return fmt.Errorf("%s is a duration without a unit; write 30s or 2m", text)
			}
			return fmt.Errorf("%q is not a duration; write 30s or 2m", text)
		}
	case len(text) > 1 && text[0] == '0' && (kind == reflect.Int || kind == reflect.Uint64):
		return fmt.Errorf("%s starts with 0; write the number in decimal", text)
	case kind == reflect.Int:
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return fmt.Errorf("%s is not a whole number", text)
		}
	case kind == reflect.Uint64:
		if _, err := strconv.ParseUint(text, 10, 64); err != nil {
			return fmt.Errorf("%s is not a whole number from 0 to 2^64 - 1", text)
		}
	case kind == reflect.Float64:
		if _, err := parseFloat(text); err != nil {
			return fmt.Errorf("%s is not a number", text)
		}
	case kind == reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%s is neither true nor false", text)
		}
	case kind == reflect.Slice:
		return fmt.Errorf("a list can only be given in the file")
	}
	return nil
}

func parseFloat(s string) (float64, error) { return strconv.ParseFloat(s, 64) }

// mustParse reads a limit from a struct tag of this package.
func mustParse[T any](parse func(string) (T, error), s string) T {
	v, err := parse(s)
	if err != nil {
		panic("config: bad limit " + s)
	}
	return v
}
