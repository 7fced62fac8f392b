package client

import (
	"os"
	"path/filepath"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/httpx"
)

func TestFromEnvironment(t *testing.T) {
	home := t.TempDir()
	other := filepath.Join(home, "other")
	if err := os.WriteFile(filepath.Join(home, "token"), []byte("hf_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name                   string
		env                    map[string]string
		endpoint, token, cache string
		offline                bool
	}{
		{"defaults", map[string]string{"HOME": "/home/x"}, httpx.DefaultEndpoint, "", "/home/x/.cache/huggingface/hub", false},
		{"XDG", map[string]string{"HOME": "/home/x", "XDG_CACHE_HOME": "/c"}, httpx.DefaultEndpoint, "", "/c/huggingface/hub", false},
		{"HF_HOME", map[string]string{"HF_HOME": home}, httpx.DefaultEndpoint, "hf_file", home + "/hub", false},
		{"HF_HOME with ~", map[string]string{"HF_HOME": "~/hf", "HOME": "/home/x"}, httpx.DefaultEndpoint, "", "/home/x/hf/hub", false},
		{"cache", map[string]string{"HF_HOME": other, "HF_HUB_CACHE": "/a", "HUGGINGFACE_HUB_CACHE": "/b"}, httpx.DefaultEndpoint, "", "/a", false},
		{"old cache", map[string]string{"HF_HOME": other, "HUGGINGFACE_HUB_CACHE": "/b"}, httpx.DefaultEndpoint, "", "/b", false},
		{"endpoint", map[string]string{"HF_HOME": other, "HF_ENDPOINT": "http://localhost:8138//"}, "http://localhost:8138", "", other + "/hub", false},
		{"token", map[string]string{"HF_HOME": home, "HF_TOKEN": " hf_env\r\n", "HUGGING_FACE_HUB_TOKEN": "hf_old"}, httpx.DefaultEndpoint, "hf_env", home + "/hub", false},
		{"old token", map[string]string{"HF_HOME": home, "HUGGING_FACE_HUB_TOKEN": "hf_old"}, httpx.DefaultEndpoint, "hf_old", home + "/hub", false},
		{"blank token", map[string]string{"HF_HOME": home, "HF_TOKEN": "\n"}, httpx.DefaultEndpoint, "hf_file", home + "/hub", false},
		{"token elsewhere", map[string]string{"HF_HOME": other, "HF_TOKEN_PATH": home + "/token"}, httpx.DefaultEndpoint, "hf_file", other + "/hub", false},
		{"no implicit token", map[string]string{"HF_HOME": home, "HF_TOKEN": "hf_env", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, httpx.DefaultEndpoint, "", home + "/hub", false},
		{"offline", map[string]string{"HF_HOME": other, "HF_HUB_OFFLINE": "yes"}, httpx.DefaultEndpoint, "", other + "/hub", true},
		{"offline by transformers", map[string]string{"HF_HOME": other, "TRANSFORMERS_OFFLINE": "TRUE"}, httpx.DefaultEndpoint, "", other + "/hub", true},
		{"not offline", map[string]string{"HF_HOME": other, "HF_HUB_OFFLINE": "0"}, httpx.DefaultEndpoint, "", other + "/hub", false},
	} {
		got, err := FromEnvironment(func(name string) string { return c.env[name] })
		if err != nil || got.Endpoint != c.endpoint || got.Token != c.token || got.Cache != c.cache || got.Offline != c.offline {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	for _, endpoint := range []string{"localhost:8138", "ftp://x", "http://", "https://user:pass@host", "http://host?x=1"} {
		if _, err := FromEnvironment(func(name string) string { return map[string]string{"HF_ENDPOINT": endpoint, "HOME": "/"}[name] }); fault.KindOf(err) != fault.Config {
			t.Errorf("HF_ENDPOINT=%s: %v", endpoint, err)
		}
	}
}
