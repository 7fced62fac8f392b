package server

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"lockstep/internal/fault"
)

const (
	secretFile = "secret"
	secretSize = 32
	// uploadTime is how long an upload address is good for.
	uploadTime = 24 * time.Hour
)

// signer makes addresses that need no token: storage hosts of the Hub are
// addressed so, and clients rightly send them none.
type signer struct{ secret []byte }

// loadSecret reads the key; it outlives the process so that an upload may go on
// after a restart.
func loadSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		secret = make([]byte, secretSize)
		_, _ = rand.Read(secret) // never fails
		if err = writeNew(path, secret); errors.Is(err, fs.ErrExist) {
			secret, err = os.ReadFile(path)
		}
	}
	if err == nil && len(secret) != secretSize {
		err = fault.Errorf(fault.Damaged, "%s has %d bytes instead of %d; remove it to have a new one made", path, len(secret), secretSize)
	}
	return secret, err
}

// sign returns expiry and signature of an address for what.
func (s signer) sign(what string, now time.Time) (expires, signature string) {
	expires = strconv.FormatInt(now.Add(uploadTime).Unix(), 10)
	return expires, s.mac(what, expires)
}

func (s signer) mac(what, expires string) string {
	m := hmac.New(sha256.New, s.secret)
	fmt.Fprintf(m, "%s\n%s", what, expires)
	return hex.EncodeToString(m.Sum(nil))
}

// check reports whether the signature is ours and still good.
func (s signer) check(what, expires, signature string, now time.Time) bool {
	until, err := strconv.ParseInt(expires, 10, 64)
	return err == nil && now.Unix() <= until && hmac.Equal([]byte(s.mac(what, expires)), []byte(signature))
}
