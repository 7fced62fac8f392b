package spec

import (
	"fmt"
	"reflect"
	"strings"
)

// Difference is one field in which two run specs differ.
type Difference struct {
	Field       string // dotted JSON name, "tokenizer.digest"
	Here, There string // both values, as text
}

// String is a sentence for the person whose fingerprint differs.
func (d Difference) String() string {
	return fmt.Sprintf("%s is %s here, %s there", d.Field, d.Here, d.There)
}

// Diff lists the fields in which two run specs differ, in the order of the
// document.
func Diff(here, there *Run) []Difference {
	return diff("", reflect.ValueOf(*here), reflect.ValueOf(*there), nil)
}

func diff(prefix string, a, b reflect.Value, out []Difference) []Difference {
	for i := range a.NumField() {
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
		x, y := a.Field(i), b.Field(i)
		if x.Kind() == reflect.Struct {
			out = diff(prefix+name+".", x, y, out)
			continue
		}
		if !reflect.DeepEqual(x.Interface(), y.Interface()) && !(bothEmpty(x, y)) {
			out = append(out, Difference{prefix + name, text(x), text(y)})
		}
	}
	return out
}

// bothEmpty treats a nil list and an empty one alike, as CBOR does.
func bothEmpty(a, b reflect.Value) bool {
	return a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0
}

func text(v reflect.Value) string {
	s := fmt.Sprint(v.Interface())
	if v.Kind() == reflect.String && s == "" {
		return `""`
	}
	return s
}
