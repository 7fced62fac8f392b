package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestResumeFromAHubThatMovedOn names the model of a Hub again when a run goes on:
// one that began at an earlier commit with the same weights, and one whose spec
// names no base model. Both stay the runs they were; other weights are refused.
func TestResumeFromAHubThatMovedOn(t *testing.T) {
	newEndpoint(t)
	first := publishBase(t)
	half := encode("F32", nanoTensors(t, func(x float32) float32 { return x / 2 }))
	folder := folderOf(t, map[string][]byte{"config.json": nanoConfig(), "model.safetensors": half})
	for from, base := range map[string]string{"distilbert/nano": "distilbert/nano@" + first, folder: ""} {
		var began, went trained
		dir := filepath.Join(t.TempDir(), "run")
		lockstep(t, &began, "train", "--model", "nano", "--init", from, "--steps", "1", "--dir", dir, "--json")
		lockstep(t, nil, "hub", "push", folderOf(t, map[string][]byte{"NOTES.md": []byte("later, " + base)}), "distilbert/nano")
		lockstep(t, &went, "train", "--resume", "--init", "distilbert/nano", "--steps", "2", "--dir", dir, "--json")
		if went.ResumedAt != 1 || went.Fingerprint != began.Fingerprint {
			t.Errorf("from %s: %s went on as %s after step %d", from, began.Fingerprint.Short(), went.Fingerprint.Short(), went.ResumedAt)
		}
		settings, err := os.ReadFile(filepath.Join(dir, settingsFile))
		if err != nil || !strings.Contains(string(settings), "distilbert/nano@") || !strings.Contains(string(settings), base) {
			t.Errorf("from %s: the settings do not name the commit, %v\n%s", from, err, settings)
		}
	}
	dir := filepath.Join(t.TempDir(), "run")
	lockstep(t, nil, "train", "--model", "nano", "--init", "distilbert/nano", "--steps", "1", "--dir", dir)
	third := encode("F32", nanoTensors(t, func(x float32) float32 { return x / 3 }))
	lockstep(t, nil, "hub", "push", folderOf(t, map[string][]byte{"model.safetensors": third}), "distilbert/nano")
	var out, errs bytes.Buffer
	if code := run([]string{"train", "--resume", "--init", "distilbert/nano", "--steps", "2", "--dir", dir}, &out, &errs); code != 30 || !strings.Contains(errs.String(), "init.parameters") {
		t.Errorf("other weights: exit code %d\n%s", code, &errs)
	}
}
