package server

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The clients of others run where they are installed. TEST_PYTHON names a
// Python that has huggingface_hub (otherwise python3 is tried), TEST_NODE_HUB
// the folder of the npm package @huggingface/hub.
const (
	pythonVariable = "TEST_PYTHON"
	nodeVariable   = "TEST_NODE_HUB"
)

// runClient runs a client's script against a server.
func (s *site) runClient(environment []string, name string, args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "HF_ENDPOINT="+s.http.URL, "HF_TOKEN="+s.s.WriteToken(), "HF_HOME="+s.t.TempDir(), "HF_HUB_DISABLE_TELEMETRY=1")
	cmd.Env = append(cmd.Env, environment...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	s.t.Logf("%s", out)
}

func TestPythonClient(t *testing.T) {
	python := cmp.Or(os.Getenv(pythonVariable), "python3")
	need := func(t *testing.T, module string) {
		if err := exec.Command(python, "-c", "import "+module).Run(); err != nil {
			t.Skipf("skipped: %s has no %s; %s may name one that has", python, module, pythonVariable)
		}
	}
	need(t, "huggingface_hub")
	script := filepath.Join("testdata", "huggingface_hub_client.py")
	t.Run("as installed", func(t *testing.T) {
		need(t, "hf_xet") // or nothing would insist on Xet
		newSite(t, Options{}).runClient(nil, python, script, t.TempDir())
	})
	for name, options := range map[string]Options{
		"basic uploads":     {MaxInline: -1},
		"multipart uploads": {MaxInline: -1, MultipartFrom: 1000, PartSize: 700_001},
	} {
		t.Run(name, func(t *testing.T) {
			newSite(t, options).runClient([]string{"HF_HUB_DISABLE_XET=1"}, python, script, t.TempDir())
		})
	}
}

func TestJavaScriptClient(t *testing.T) {
	pkg := os.Getenv(nodeVariable)
	if pkg == "" {
		t.Skipf("skipped: %s does not name a folder of @huggingface/hub", nodeVariable)
	}
	script := filepath.Join("testdata", "huggingface_js_client.mjs")
	for name, options := range map[string]Options{
		"basic uploads":     {},
		"multipart uploads": {MultipartFrom: 1000, PartSize: 700_001},
	} {
		t.Run(name, func(t *testing.T) {
			newSite(t, options).runClient(nil, "node", script, pkg)
		})
	}
}
