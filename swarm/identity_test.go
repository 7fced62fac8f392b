package swarm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

func TestEnsureIdentityCreatesOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "identity.key")
	var wg sync.WaitGroup
	peers := make([]signed.PeerID, 8)
	for i := range peers {
		wg.Go(func() {
			id, err := EnsureIdentity(path)
			if err != nil {
				t.Error(err)
			}
			peers[i] = id.Peer
		})
	}
	wg.Wait()
	for _, p := range peers {
		if p != peers[0] || p.IsZero() {
			t.Fatalf("two identities from one file: %v", peers)
		}
	}
	info, err := os.Stat(path)
	if err != nil || (filePrivacy && info.Mode().Perm() != 0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	left, _ := os.ReadDir(filepath.Dir(path))
	if len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
}

func TestLoadIdentityRefuses(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if _, err := EnsureIdentity(good); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(good)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := x509.MarshalPKCS8PrivateKey(other)
	tests := []struct {
		name string
		text []byte
		mode os.FileMode
		want fault.Kind
	}{
		{"truncated", text[:len(text)/2], 0o600, fault.Damaged},
		{"empty", nil, 0o600, fault.Damaged},
		{"something after it", append(append([]byte{}, text...), "more"...), 0o600, fault.Damaged},
		{"huge", make([]byte, maxKeyFile+1), 0o600, fault.Damaged},
		{"not a key", pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: []byte("x")}), 0o600, fault.Damaged},
		{"another kind of key", pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), 0o600, fault.Config},
		{"readable by others", text, 0o644, fault.Config},
	}
	for _, tt := range tests {
		path := filepath.Join(dir, strings.ReplaceAll(tt.name, " ", "-"))
		if err := os.WriteFile(path, tt.text, tt.mode); err != nil {
			t.Fatal(err)
		}
		if !filePrivacy && tt.mode != 0o600 {
			continue
		}
		if _, err := EnsureIdentity(path); fault.KindOf(err) != tt.want || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v (%v)", tt.name, err, fault.KindOf(err))
		}
	}
	if _, err := LoadIdentity(filepath.Join(dir, "none")); fault.KindOf(err) != fault.Config {
		t.Errorf("no file: %v", err)
	}
}

func TestParseAddress(t *testing.T) {
	peer := signed.PeerID{1, 2, 3}
	want := Address{"validator.example:4138", peer}
	got, err := ParseAddress(want.String())
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, s := range []string{"", "host:1", "host/" + peer.String(), "host:1/abcd", "host:99999/" + peer.String(), ":1/" + peer.String()} {
		if _, err := ParseAddress(s); fault.KindOf(err) != fault.Config {
			t.Errorf("%q: %v", s, err)
		}
	}
}
