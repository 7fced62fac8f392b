package transport

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
)

// The protocols that share a node's port, told apart by ALPN.
const (
	controlProtocol = "h2"
	bulkProtocol    = "lockstep/bulk/1"
)

// certificate returns a self-signed certificate for key. Nobody reads its
// dates or names: peers are known by their keys alone, so that a wrong clock
// keeps nobody out.
func certificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "lockstep"},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: no expiry
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// baseConfig is what both sides of a connection have in common. TLS itself
// proves that the peer holds the key of the certificate it shows.
func baseConfig(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates:                []tls.Certificate{cert},
		MinVersion:                  tls.VersionTLS13,
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
	}
}

// serverConfig accepts any ed25519 key: who may do what is decided after the
// handshake, where a refusal can be put into words.
func serverConfig(cert tls.Certificate) *tls.Config {
	c := baseConfig(cert)
	c.ClientAuth = tls.RequireAnyClientCert
	c.NextProtos = []string{controlProtocol, bulkProtocol}
	c.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := peerOf(&s)
		return err
	}
	return c
}

// clientConfig accepts one key only.
func clientConfig(cert tls.Certificate, peer signed.PeerID, protocol string) *tls.Config {
	c := baseConfig(cert)
	c.NextProtos = []string{protocol}
	c.InsecureSkipVerify = true // chains and names mean nothing here; VerifyConnection pins the key
	c.VerifyConnection = func(s tls.ConnectionState) error {
		got, err := peerOf(&s)
		if err != nil {
			return err
		}
		if got != peer {
			return fault.Errorf(fault.Network, "peer %s answers where %s was expected", got.Short(), peer.Short())
		}
		if s.NegotiatedProtocol != protocol {
			return fault.Errorf(fault.Network, "peer %s does not speak %s", peer.Short(), protocol)
		}
		return nil
	}
	return c
}

// peerOf returns the peer ID behind a connection's certificate.
func peerOf(s *tls.ConnectionState) (signed.PeerID, error) {
	if len(s.PeerCertificates) != 1 {
		return signed.PeerID{}, fault.Errorf(fault.Network, "peer shows %d certificates instead of one", len(s.PeerCertificates))
	}
	key, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return signed.PeerID{}, fault.Errorf(fault.Network, "peer's key is a %T, not ed25519", s.PeerCertificates[0].PublicKey)
	}
	return signed.IDOf(key), nil
}
