package signed

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"lockstep/internal/fault"
)

type note struct {
	Epoch uint64   `cbor:"1,keyasint"`
	Names []string `cbor:"2,keyasint"`
	Root  [32]byte `cbor:"3,keyasint"`
}

func testKey(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

func TestSealAndOpen(t *testing.T) {
	key := testKey(1)
	want := note{Epoch: 7, Names: []string{"a", "b"}, Root: [32]byte{1, 2}}
	e, err := Seal("note", want, key)
	if err != nil {
		t.Fatal(err)
	}
	var got note
	id, err := Open("note", e, &got)
	if err != nil {
		t.Fatal(err)
	}
	if id != IDOf(key.Public().(ed25519.PublicKey)) || got.Epoch != 7 || len(got.Names) != 2 || got.Root != want.Root {
		t.Errorf("opened %+v by %v", got, id)
	}
	again, _ := Seal("note", want, key)
	if !bytes.Equal(e, again) {
		t.Error("sealing twice gives two byte strings")
	}
}

func TestOpenRefusesEveryChangedByte(t *testing.T) {
	e, _ := Seal("note", note{Epoch: 7, Names: []string{"a"}}, testKey(1))
	for i := range e {
		for _, flip := range []byte{1, 0x80} {
			bad := bytes.Clone(e)
			bad[i] ^= flip
			var n note
			if _, err := Open("note", bad, &n); err == nil {
				t.Fatalf("byte %d changed by %#x, and the document still opens", i, flip)
			} else if fault.KindOf(err) != fault.Damaged {
				t.Fatalf("byte %d: kind %v of %v", i, fault.KindOf(err), err)
			}
		}
	}
	for n := range len(e) {
		var v note
		if _, err := Open("note", e[:n], &v); err == nil {
			t.Fatalf("the first %d of %d bytes open", n, len(e))
		}
	}
	var v note
	if _, err := Open("note", append(bytes.Clone(e), 0), &v); err == nil {
		t.Error("a trailing byte is accepted")
	}
	if _, err := Open("vote", e, &v); err == nil {
		t.Error("a document opens under another domain")
	}
}

func TestUnmarshalIsStrict(t *testing.T) {
	tests := map[string]string{
		"unknown field":        "\xa4\x01\x07\x02\x80\x03\x58\x20" + string(make([]byte, 32)) + "\x04\x00",
		"missing field":        "\xa2\x01\x07\x02\x80",
		"duplicate field":      "\xa4\x01\x07\x01\x07\x02\x80\x03\x58\x20" + string(make([]byte, 32)),
		"keys out of order":    "\xa3\x02\x80\x01\x07\x03\x58\x20" + string(make([]byte, 32)),
		"long form of 7":       "\xa3\x01\x18\x07\x02\x80\x03\x58\x20" + string(make([]byte, 32)),
		"indefinite array":     "\xa3\x01\x07\x02\x9f\xff\x03\x58\x20" + string(make([]byte, 32)),
		"null for the list":    "\xa3\x01\x07\x02\xf6\x03\x58\x20" + string(make([]byte, 32)),
		"tag":                  "\xa3\x01\xc1\x07\x02\x80\x03\x58\x20" + string(make([]byte, 32)),
		"huge declared length": "\xa3\x01\x07\x02\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
		"short root":           "\xa3\x01\x07\x02\x80\x03\x41\x00",
		"text that is no text": "\xa3\x01\x07\x02\x81\x61\xff\x03\x58\x20" + string(make([]byte, 32)),
	}
	good := "\xa3\x01\x07\x02\x80\x03\x58\x20" + string(make([]byte, 32))
	var n note
	if err := Unmarshal([]byte(good), &n); err != nil {
		t.Fatalf("the good form is refused: %v", err)
	}
	for name, in := range tests {
		var n note
		if err := Unmarshal([]byte(in), &n); err == nil {
			t.Errorf("%s is accepted as %+v", name, n)
		}
	}
	if err := Unmarshal(make([]byte, MaxDocument+1), &n); fault.KindOf(err) != fault.Damaged {
		t.Errorf("an oversized document gives %v", err)
	}
}

func TestDigestLeavesTheSignatureOut(t *testing.T) {
	a, _ := Seal("note", note{Epoch: 1}, testKey(1))
	b, _ := Seal("note", note{Epoch: 1}, testKey(2))
	c, _ := Seal("note", note{Epoch: 2}, testKey(1))
	d, _ := Seal("other", note{Epoch: 1}, testKey(1))
	if a.Digest() == b.Digest() || a.Digest() == c.Digest() || a.Digest() == d.Digest() {
		t.Error("different statements share a digest")
	}
	var env envelope
	if err := Unmarshal(a, &env); err != nil {
		t.Fatal(err)
	}
	env.Signature[0] ^= 1
	forged, _ := Marshal(env)
	if Envelope(forged).Digest() != a.Digest() {
		t.Error("the digest depends on the signature's bytes")
	}
	if !Envelope("junk").Digest().IsZero() {
		t.Error("junk has a digest")
	}
}

func FuzzOpen(f *testing.F) {
	e, _ := Seal("note", note{Epoch: 7, Names: []string{"a"}}, testKey(1))
	f.Add([]byte(e))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var n note
		id, err := Open("note", data, &n)
		if err == nil && id.IsZero() {
			t.Error("opened without a signer")
		}
		var env envelope
		if Unmarshal(data, &env) == nil {
			again, err := Marshal(env)
			if err != nil || !bytes.Equal(again, data) {
				t.Errorf("%x is accepted but re-encodes as %x", data, again)
			}
		}
	})
}
