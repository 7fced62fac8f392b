package config

import (
	"bytes"
	"fmt"
	"reflect"
	"time"

	"go.yaml.in/yaml/v3"

	"lockstep/internal/durable"
)

// Save writes every setting of c to a YAML file that Load reads back to the
// same Config. After a crash the file has the old content or the new one.
func Save(path string, c Config) error {
	text, err := marshal(c)
	if err == nil {
		err = durable.Replace(path, 0o600, text)
	}
	if err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	return nil
}

// marshal writes sections and keys in the order of the struct.
func marshal(c Config) ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		section := &yaml.Node{Kind: yaml.MappingNode}
		for j := range v.Field(i).NumField() {
			name := v.Field(i).Type().Field(j).Tag.Get("mapstructure")
			if err := add(section, name, plain(v.Field(i).Field(j))); err != nil {
				return nil, err
			}
		}
		name := v.Type().Field(i).Tag.Get("mapstructure")
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, section)
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func add(section *yaml.Node, name string, value any) error {
	var n yaml.Node
	if err := n.Encode(value); err != nil {
		return err
	}
	section.Content = append(section.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, &n)
	return nil
}

// plain turns a field into what YAML writes under mapstructure's names:
// durations as text, lists of structs as lists of maps.
func plain(v reflect.Value) any {
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	switch v.Kind() {
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	case reflect.Struct:
		m := map[string]any{} // yaml sorts the keys
		for i := range v.NumField() {
			m[v.Type().Field(i).Tag.Get("mapstructure")] = plain(v.Field(i))
		}
		return m
	}
	return v.Interface()
}
