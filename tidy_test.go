// Package lockstep holds the rules of the house as ordinary tests: who may
// import whom, what numeric code must not do, and that every rule of
// NUMERICS.md names a test that exists.
package lockstep

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows lists what each room may import from this module. A room that is not
// in the table may import nothing. "internal/" stands for all of internal.
var arrows = map[string][]string{
	"cmd/lockstep":     {"swarm", "swarm/control", "validate", "validate/ledger", "reduce", "reduce/commit", "reduce/transport", "stream", "stream/tokenizer", "hub", "hub/client", "hub/safetensors", "hub/server", "observe", "config", "model", "optim", "internal/"},
	"swarm":            {"swarm/control", "validate", "validate/ledger", "reduce", "reduce/commit", "reduce/transport", "stream", "stream/tokenizer", "hub", "hub/safetensors", "model", "optim", "internal/"},
	"swarm/control":    {"reduce", "reduce/commit", "reduce/transport", "internal/"},
	"validate":         {"validate/ledger", "model", "stream", "stream/tokenizer", "reduce/commit", "internal/"},
	"validate/ledger":  {"internal/"},
	"model":            {"autograd", "optim", "internal/"},
	"autograd":         {"internal/"},
	"optim":            {"internal/"},
	"reduce":           {"reduce/commit", "internal/"},
	"reduce/commit":    {"internal/"},
	"reduce/transport": {"reduce", "reduce/commit", "internal/"},
	"stream":           {"stream/tokenizer", "stream/corpus", "stream/parquet", "stream/remote", "stream/store", "internal/"},
	"stream/parquet":   {},
	"stream/remote":    {"internal/"},
	"stream/store":     {"internal/"},
	"stream/tokenizer": {"stream/corpus", "internal/"},
	"stream/corpus":    {"internal/"},
	"hub":              {"hub/safetensors", "hub/internal/strictjson", "internal/"},
	"hub/client":       {"hub", "internal/"},
	"hub/server":       {"hub", "internal/"},
	"hub/safetensors":  {"hub/internal/strictjson", "internal/"},
	"observe":          {"internal/"},
	"config":           {"internal/"},

	"internal/f32":      {"internal/fault", "internal/peer"},
	"internal/seed":     {},
	"internal/fault":    {},
	"internal/httpx":    {"internal/fault"},
	"internal/durable":  {"internal/fault"},
	"internal/merkle":   {},
	"internal/signed":   {"internal/fault", "internal/merkle"},
	"internal/spec":     {"internal/fault", "internal/merkle", "internal/signed"},
	"internal/peer":     {},
	"internal/testdata": {},
}

// third lists the only files that may import each third-party module.
var third = map[string][]string{
	"github.com/spf13/cobra":               {"cmd/lockstep/"},
	"github.com/spf13/pflag":               {"cmd/lockstep/", "config/load.go"},
	"github.com/spf13/viper":               {"config/load.go", "config/file.go"},
	"github.com/go-viper/mapstructure/v2":  {"config/load.go"},
	"go.yaml.in/yaml/v3":                   {"config/file.go", "config/save.go"},
	"github.com/fxamacker/cbor/v2":         {"internal/signed/cbor.go"},
	"github.com/pkoukk/tiktoken-go":        {"stream/tokenizer/"},
	"github.com/pkoukk/tiktoken-go-loader": {"stream/tokenizer/"},
	"github.com/parquet-go/parquet-go":     {"stream/parquet/"},
	"github.com/klauspost/compress":        {"stream/parquet/compress.go"},
	"github.com/x448/float16":              {"hub/safetensors/dtype.go"},
	"golang.org/x/sys/cpu":                 {"internal/f32/isa_amd64.go", "internal/f32/features_amd64.go"},
	"golang.org/x/sys/unix":                {"hub/", "swarm/"},
	"golang.org/x/sys/windows":             {"hub/lock_windows.go"},
	"golang.org/x/sync/":                   {"hub/", "stream/", "swarm/", "reduce/", "validate/", "cmd/lockstep/"},
	"golang.org/x/term":                    {"observe/", "cmd/lockstep/"},
	"gonum.org/v1/gonum/":                  {"validate/", "observe/", "cmd/lockstep/"},
}

type source struct {
	path, dir string
	ast       *ast.File
	fset      *token.FileSet
	test      bool
}

// sources parses every Go file of the module; folders that start with "_" or
// "." are modules of their own or no source.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (d.Name()[0] == '_' || d.Name()[0] == '.') {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		out = append(out, source{path, filepath.ToSlash(filepath.Dir(path)), f, fset, strings.HasSuffix(path, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s source) at(n ast.Node) string { return s.fset.Position(n.Pos()).String() }

func TestImportArrows(t *testing.T) {
	for _, s := range sources(t) {
		for _, problem := range importProblems(s) {
			t.Error(problem)
		}
	}
}

func importProblems(s source) (problems []string) {
	for _, imp := range s.ast.Imports {
		path, _ := strconv.Unquote(imp.Path.Value)
		if own, ok := strings.CutPrefix(path, "lockstep/"); ok {
			if !s.test && !arrowAllowed(s.dir, own) {
				problems = append(problems, s.at(imp)+": "+s.dir+" must not import "+own)
			}
			continue
		}
		if strings.Contains(path, ".") && !s.test && !thirdAllowed(s.path, path) {
			problems = append(problems, s.at(imp)+": "+path+" is not allowed in this file")
		}
	}
	return problems
}

func arrowAllowed(dir, target string) bool {
	return slices.ContainsFunc(arrows[dir], func(a string) bool {
		return a == target || (a == "internal/" && strings.HasPrefix(target, a) && target != "internal/testdata")
	})
}

func thirdAllowed(file, path string) bool {
	for module, files := range third {
		if path != module && !strings.HasPrefix(path, strings.TrimSuffix(module, "/")+"/") {
			continue
		}
		for _, f := range files {
			if file == f || (strings.HasSuffix(f, "/") && strings.HasPrefix(file, f)) {
				return true
			}
		}
	}
	return false
}
