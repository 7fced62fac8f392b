package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"lockstep/internal/fault"
)

// maxFile caps the configuration file.
const maxFile = 1 << 20

// readFile gives the YAML file to v after checking keys and values by hand:
// viper folds case, merges twins, ignores what it does not know, and turns what
// is no number into one. It returns the line of each setting that is there.
func readFile(v *viper.Viper, known []field, path string) (lines map[string]int, err error) {
	raw, err := readCapped(path)
	if err != nil {
		return nil, fault.Errorf(fault.Config, "configuration file: %w", err)
	}
	file := yamlFile{path: path, known: map[string]field{}, lines: map[string]int{}}
	for _, f := range known {
		file.known[f.Key] = f
		file.names = append(file.names, f.Key)
	}
	if err := file.check(raw); err != nil {
		return nil, err
	}
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(raw)); err != nil {
		return nil, fault.Errorf(fault.Config, "configuration file %s: %w", path, oneLine(err))
	}
	return file.lines, nil
}

func readCapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return raw, err
}

// yamlFile is a configuration file under examination.
type yamlFile struct {
	path  string
	known map[string]field
	names []string // keys, in their order
	lines map[string]int
}

// errorAt is a fault.Config error about a line.
func (y *yamlFile) errorAt(line int, format string, args ...any) error {
	return fault.Errorf(fault.Config, "%s:%d: %w", y.path, line, fmt.Errorf(format, args...))
}

// check reports the first thing in the file that is wrong.
func (y *yamlFile) check(raw []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil // nothing in it
	}
	if err != nil {
		return y.syntax(err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return y.errorAt(more.Line, "a second document begins here; one file holds one")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return y.errorAt(root.Line, "sections with settings are wanted, such as train: {steps: 5}")
	}
	return y.eachPair(root, y.section)
}

// syntaxLine is how the YAML reader names a line.
var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): `)

func (y *yamlFile) syntax(err error) error {
	text := oneLine(err).Error()
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		return fault.Errorf(fault.Config, "%s:%s: %s", y.path, m[1], strings.TrimPrefix(text, m[0]))
	}
	return fault.Errorf(fault.Config, "%s: %s", y.path, strings.TrimPrefix(text, "yaml: "))
}

// eachPair calls f for each key of a mapping, and refuses a key that stands
// twice.
func (y *yamlFile) eachPair(n *yaml.Node, f func(key, value *yaml.Node) error) error {
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 { // key, value, key, value
		key := n.Content[i]
		if seen[key.Value] {
			return y.errorAt(key.Line, "key %s is already defined above", key.Value)
		}
		seen[key.Value] = true
		if err := f(key, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (y *yamlFile) section(key, value *yaml.Node) error {
	isSection := slices.ContainsFunc(y.names, func(name string) bool { return strings.HasPrefix(name, key.Value+".") })
	switch {
	case value.Kind == yaml.MappingNode && (isSection || len(value.Content) > 0):
		return y.eachPair(value, func(k, v *yaml.Node) error { return y.setting(key.Value+"."+k.Value, k, v) })
	case !isSection:
		return y.errorAt(key.Line, "unknown key %s%s", key.Value, suggest(key.Value, y.names))
	case value.Tag == "!!null":
		return nil
	}
	return y.errorAt(value.Line, "%s is a section: its settings are wanted, one a line below it", key.Value)
}

func (y *yamlFile) setting(key string, k, v *yaml.Node) error {
	f, ok := y.known[key]
	if !ok {
		return y.errorAt(k.Line, "unknown key %s%s", key, suggest(key, y.names))
	}
	y.lines[key] = k.Line
	return y.value(key, f.value.Type(), v)
}

// value checks that a node holds a value of type t, or a list of such structs.
func (y *yamlFile) value(key string, t reflect.Type, n *yaml.Node) error {
	switch {
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			return y.errorAt(n.Line, "%s is a list", key)
		}
		for i, item := range n.Content {
			if err := y.item(fmt.Sprintf("%s[%d]", key, i), t.Elem(), item); err != nil {
				return err
			}
		}
		return nil
	case n.Kind != yaml.ScalarNode:
		return y.errorAt(n.Line, "%s is a single value", key)
	case n.Tag == "!!null":
		return y.errorAt(n.Line, "%s has no value", key)
	case t.Kind() == reflect.String && n.Tag != "!!str":
		return y.errorAt(n.Line, "%s: %s is not read as text; put it in quotes", key, n.Value)
	}
	if err := checkText(t, n.Value); err != nil {
		return y.errorAt(n.Line, "%s: %w", key, err)
	}
	return nil
}

// item checks one struct of a list.
func (y *yamlFile) item(key string, t reflect.Type, n *yaml.Node) error {
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("mapstructure"))
	}
	if n.Kind != yaml.MappingNode {
		return y.errorAt(n.Line, "%s must be {%s}", key, strings.Join(names, ", "))
	}
	return y.eachPair(n, func(k, v *yaml.Node) error {
		i := slices.Index(names, k.Value)
		if i < 0 {
			return y.errorAt(k.Line, "unknown key %s.%s; it has %s", key, k.Value, strings.Join(names, ", "))
		}
		return y.value(key+"."+k.Value, t.Field(i).Type, v)
	})
}
