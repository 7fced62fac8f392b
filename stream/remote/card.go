package remote

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"lockstep/internal/fault"
)

// info is what is read of a repository's description.
type info struct {
	SHA  string `json:"sha"`
	Card struct {
		Configs []config `json:"configs"`
	} `json:"cardData"`
}

// config is a configuration that a dataset's card declares.
type config struct {
	Name  string          `json:"config_name"`
	Files json.RawMessage `json:"data_files"` // a pattern, patterns, or patterns by split
}

// split is one split of a configuration.
type split struct {
	Name string          `json:"split"`
	Path json.RawMessage `json:"path"` // a pattern or a list of them
}

// patterns returns those of the split "train", or of the only one.
func (c config) patterns() ([]string, error) {
	if p, ok := stringOrList(c.Files); ok {
		return p, nil
	}
	var splits []split
	if err := json.Unmarshal(c.Files, &splits); err != nil {
		return nil, fault.Errorf(fault.Damaged, "the dataset's card: configuration %q has no data_files", c.Name)
	}
	i := slices.IndexFunc(splits, func(s split) bool { return s.Name == "train" })
	switch {
	case i < 0 && len(splits) == 1:
		i = 0
	case i < 0:
		return nil, fault.Errorf(fault.Config, "the dataset's configuration %q has %d splits and none is called train; name a folder or file instead", c.Name, len(splits))
	}
	p, ok := stringOrList(splits[i].Path)
	if !ok {
		return nil, fault.Errorf(fault.Damaged, "the dataset's card: split %q of configuration %q has no path", splits[i].Name, c.Name)
	}
	return p, nil
}

// stringOrList reads a JSON string or a list of them.
func stringOrList(raw json.RawMessage) ([]string, bool) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, one != ""
	}
	var list []string
	return list, json.Unmarshal(raw, &list) == nil && len(list) > 0
}

// base is the folder that a pattern is under: what stands before the first part
// with a wildcard.
func base(pattern string) string {
	parts := strings.Split(pattern, "/")
	for i, p := range parts {
		if strings.ContainsAny(p, "*?[") {
			return strings.Join(parts[:i], "/")
		}
	}
	return pattern
}

// matches says whether a path fits a pattern: * and ? stay inside a name, **
// stands for any number of folders. Behind a part that does not fit, only the
// last ** before it need take more, so the time is linear in both lengths'
// product.
func matches(pattern, file string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(file, "/")
	star, taken := -1, 0 // the last ** in want, and where it ends in have
	i, j := 0, 0
	for j < len(have) {
		if i < len(want) && want[i] == "**" {
			star, taken = i, j
			i++
			continue
		}
		if i < len(want) {
			if ok, err := path.Match(want[i], have[j]); ok && err == nil {
				i, j = i+1, j+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		taken++
		i, j = star+1, taken
	}
	for i < len(want) && want[i] == "**" {
		i++
	}
	return i == len(want)
}
