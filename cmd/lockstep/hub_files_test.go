package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPullOffline pulls what the cache has into a folder, and says that it may
// not be all.
func TestPullOffline(t *testing.T) {
	newEndpoint(t)
	files := map[string][]byte{"config.json": []byte("{}"), "model.safetensors": []byte("weights")}
	lockstep(t, nil, "hub", "push", folderOf(t, files), "me/m", "--tag", "1")
	lockstep(t, nil, "hub", "pull", "me/m@1")
	t.Setenv("HF_HUB_OFFLINE", "1")
	to := filepath.Join(t.TempDir(), "pulled")
	var out, errs bytes.Buffer
	if code := run([]string{"hub", "pull", "me/m@1", "--to", to}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	if !strings.Contains(errs.String(), "may not be all") {
		t.Errorf("said %s", &errs)
	}
	for path, want := range files {
		if got, err := os.ReadFile(filepath.Join(to, path)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// TestUnusableToken: what no header can carry is a bad setting, not a bad network.
func TestUnusableToken(t *testing.T) {
	newEndpoint(t)
	t.Setenv("HF_TOKEN", "hf_\x1b[0m")
	var out, errs bytes.Buffer
	if code := run([]string{"hub", "ls", "me/m"}, &out, &errs); code != 3 {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}
