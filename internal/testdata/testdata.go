// Package testdata finds the optional real data that some tests read: FineWeb
// documents, tokenizer vectors, published checkpoints. The default tests need
// none of it and skip, with a message, where it is absent. Tests only.
package testdata

import (
	"os"
	"path/filepath"
	"testing"
)

// Variable names the environment variable that points to the data folder.
const Variable = "LOCKSTEP_SHARED_DATA"

// Path returns the path of name inside the data folder: the one that Variable
// names, else ../shared/data beside the repository. Without it the test skips.
func Path(t testing.TB, name ...string) string {
	t.Helper()
	dir := os.Getenv(Variable)
	if dir == "" {
		dir = filepath.Join(Root(), "..", "shared", "data")
	}
	p := filepath.Join(append([]string{dir}, name...)...)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("no %s here; set %s to the folder of real data to run this test", filepath.Join(name...), Variable)
	}
	return p
}

// Root returns the repository's root folder.
func Root() string { return root }

// root is found when the process starts, in the folder of the test's package:
// later a test may have left it. The path of this file would not do, as builds
// with -trimpath do not know it.
var root = findRoot()

func findRoot() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		above := filepath.Dir(dir)
		if above == dir {
			break
		}
		dir = above
	}
	return "."
}
