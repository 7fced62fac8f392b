package server

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

func TestPreupload(t *testing.T) {
	s, _ := newModel(t, Options{})
	const ask = `{"files":[{"path":"config.json","size":2,"sample":"e30="},{"path":"model.safetensors","size":7},{"path":"big.txt","size":20000000},{"path":"empty.bin","size":0}]}`
	r := s.must(200, "POST", "/api/models/a/m/preupload/main", ask)
	want := `{"files":[` +
		`{"path":"config.json","uploadMode":"regular","shouldIgnore":false,"oid":"9e26dfeeb6e641a33dae4961196235bdb965b21b"},` +
		`{"path":"model.safetensors","uploadMode":"lfs","shouldIgnore":false,"oid":"` + fmt.Sprintf("%x", sha256.Sum256([]byte("weights"))) + `"},` +
		`{"path":"big.txt","uploadMode":"lfs","shouldIgnore":false},` +
		`{"path":"empty.bin","uploadMode":"regular","shouldIgnore":false}]}`
	if r.text() != want {
		t.Errorf("got  %s\nwant %s", r.body, want)
	}
	xet := s.must(200, "POST", "/api/models/a/m/preupload/main", ask, "User-Agent: unknown/None; hf_hub/2.4.0; python/3.11.7")
	if strings.Contains(xet.text(), `"lfs"`) {
		t.Errorf("a client that insists on Xet is told %s", xet.body)
	}
	for agent, insists := range map[string]bool{"x; hf_hub/1.20.0": true, "hf_hub/1.19.9": false, "hf_hub/0.36.0": false, "node": false, "hf_hub/2.0": true} {
		if insistsOnXet(agent) != insists {
			t.Errorf("%s insists on Xet: %v", agent, !insists)
		}
	}
	if r := s.must(404, "GET", "/api/models/a/m/xet-write-token/main", ""); !strings.Contains(r.text(), "HF_HUB_DISABLE_XET") {
		t.Errorf("somebody who insists reads %s", r.body)
	}
	s.must(200, "POST", "/api/validate-yaml", `{"content":"---\n","repoType":"model"}`)
}

func TestBodiesAreCapped(t *testing.T) {
	s, _ := newModel(t, Options{MaxInline: -1, MaxObject: 1000})
	huge := strings.Repeat("x", maxSmallBody+1)
	s.must(413, "POST", "/api/repos/create", `{"name":"`+huge+`"}`)
	s.must(413, "POST", "/api/models/a/m/tag/main", `{"tag":"`+huge+`"}`)
	s.must(413, "POST", "/api/models/a/m/commit/main", `{"key":"header","value":{"summary":"`+huge+`"}}`)
	s.must(400, "POST", "/api/models/a/m/preupload/main", `{"files":[{"path":"x.bin","size":1001}]}`)
	if _, err := readOperations(bytes.NewReader([]byte(header("x", "")+inline("x", huge))), t.TempDir(), 1000); err == nil || !strings.Contains(err.Error(), errTooLarge.Error()) {
		t.Errorf("contents above the limit: %v", err)
	}
	if _, err := readOperations(strings.NewReader(header("x", "")+strings.Repeat(`{"key":"deletedFile","value":{"path":"x"}}`, maxOperations)), t.TempDir(), 1000); err == nil {
		t.Error("no limit of lines")
	}
	r := s.must(200, "POST", "/a/m.git/info/lfs/objects/batch", `{"operation":"upload","objects":[{"oid":"`+strings.Repeat("0", 64)+`","size":1001},{"oid":"zz","size":1}]}`)
	if strings.Count(r.text(), `"error":{`) != 2 || strings.Contains(r.text(), "null") {
		t.Errorf("objects that are too large or have no digest: %s", r.body)
	}
}
