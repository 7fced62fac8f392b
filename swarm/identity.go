package swarm

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/swarm/control"
)

// Identity is a node's key. Its peer ID is all that others know it by.
type Identity struct {
	Key  ed25519.PrivateKey
	Peer signed.PeerID
}

// keyBlock is the PEM type of PKCS #8, as openssl writes it.
const keyBlock = "PRIVATE KEY"

// maxKeyFile caps the key file.
const maxKeyFile = 4 << 10

// LoadIdentity reads the ed25519 key in a PEM file (PKCS #8, as
// `openssl genpkey -algorithm ed25519` writes it). Whoever can read the file is
// this node, so a file that others may read is refused.
func LoadIdentity(path string) (Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return Identity{}, fault.Errorf(fault.Config, "identity key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return Identity{}, fmt.Errorf("identity key %s: %w", path, err)
	case info.Size() > maxKeyFile:
		return Identity{}, fault.Errorf(fault.Damaged, "identity key %s: %d bytes; a key has about 120", path, info.Size())
	case filePrivacy && info.Mode().Perm()&0o077 != 0:
		return Identity{}, fault.Errorf(fault.Config, "identity key %s: other users may read it (mode %#o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text := make([]byte, info.Size())
	if _, err := f.ReadAt(text, 0); err != nil {
		return Identity{}, fmt.Errorf("identity key %s: %w", path, err)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != keyBlock || len(rest) > 0 {
		return Identity{}, fault.Errorf(fault.Damaged, "identity key %s: not one PEM block %q; restore it from a copy, or delete it and register the new key", path, keyBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return Identity{}, fault.Errorf(fault.Damaged, "identity key %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return Identity{}, fault.Errorf(fault.Config, "identity key %s: a %T; nodes have ed25519 keys", path, parsed)
	}
	return identityOf(key), nil
}

// EnsureIdentity reads the key in path, or creates it where there is none. A
// key is never overwritten, also not by two processes that create it at once:
// the file appears whole, or not at all.
func EnsureIdentity(path string) (Identity, error) {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return LoadIdentity(path)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("identity key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Identity{}, fmt.Errorf("identity key: %w", err)
	}
	if err := createWhole(path, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})); err != nil && !errors.Is(err, fs.ErrExist) {
		return Identity{}, fmt.Errorf("identity key: %w", err)
	}
	return LoadIdentity(path)
}

// createWhole writes a new file of mode 0600 under a temporary name and links
// it into place, which fails with fs.ErrExist if the name is taken.
func createWhole(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return durable.Explain(dir, err)
	}
	name, err := durable.Write(dir, content, durable.Create)
	if err != nil {
		return durable.Explain(path, err)
	}
	defer os.Remove(name)
	if err := os.Link(name, path); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

func identityOf(key ed25519.PrivateKey) Identity {
	return Identity{key, signed.IDOf(key.Public().(ed25519.PublicKey))}
}

// Address is a node that is known before the registry is: where it listens, and
// whose key must answer there.
type Address struct {
	HostPort string
	Peer     signed.PeerID
}

// ParseAddress reads HOST:PORT/PEERID. Errors are fault.Config.
func ParseAddress(s string) (Address, error) {
	place, id, found := strings.Cut(s, "/")
	if !found {
		return Address{}, fault.Errorf(fault.Config, "validator %q: HOST:PORT/PEERID is wanted; the validator prints it when it starts", s)
	}
	a := Address{HostPort: place}
	if err := control.CheckAddress(place); err != nil {
		return Address{}, fault.Errorf(fault.Config, "validator %q: %w", s, err)
	}
	if err := a.Peer.UnmarshalText([]byte(id)); err != nil {
		return Address{}, fault.Errorf(fault.Config, "validator %q: after the slash come 64 hex digits of a peer ID: %w", s, err)
	}
	return a, nil
}

// String is the form that ParseAddress reads.
func (a Address) String() string { return a.HostPort + "/" + a.Peer.String() }
