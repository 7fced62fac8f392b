package swarm

import (
	"sync/atomic"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
)

func TestRoutesOfState(t *testing.T) {
	d, routes := library(t, 5, nil)
	at := server(t, routes)
	c := client(t, at)
	var status control.Status
	if err := c.Get(t.Context(), at.Peer, "/v1/status", 0, &status); err != nil || status.Epoch != 5 || status.Root != d.root {
		t.Errorf("status %+v, %v", status, err)
	}
	leaves := 32 * len(d.leaves[0])
	for path, want := range map[string]control.Code{
		"/v1/state/5/parameters/leaves":     "",
		"/v1/state/6/parameters/leaves":     control.Absent,
		"/v1/state/5/soul/leaves":           control.Malformed,
		"/v1/state/05/parameters/leaves":    control.Malformed,
		"/v1/state/-1/parameters/leaves":    control.Malformed,
		"/v1/state/5/m/chunk/1":             control.Absent,
		"/v1/state/5/m/chunk/1000000000000": control.Absent,
		"/v1/state/5/m/chunk/x":             control.Malformed,
		"/v1/average/5/leaves":              control.Absent,
		"/v1/average/5/chunk/0":             control.Absent,
	} {
		_, err := c.Upto(t.Context(), at.Peer, path, leaves)
		if want == "" && err != nil || want != "" && !control.IsRefusal(err, want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	var w word
	if err := c.Get(t.Context(), at.Peer, "/v1/state/6/header", time.Second, &w); !control.IsRefusal(err, control.Later) {
		t.Errorf("a state to come: %v", err)
	}
}

func TestRoutesOfClaims(t *testing.T) {
	id, _ := EnsureIdentity(t.TempDir() + "/key")
	var s shelf
	var promoted atomic.Bool
	at := serverFor(t, s.routes(), func() control.Role {
		if promoted.Load() {
			return control.Validator
		}
		return control.Miner
	})
	validator := client(t, at)
	gradient := []float32{1, 2, 3}
	grid := merkle.Grid{Kind: merkle.KindGradient, Codec: merkle.CodecF32, Elements: len(gradient)}
	claim := commit.Seal(commit.Claim{Epoch: 4, Tokens: 1, Elements: 3}, id.Key)
	get := func(path string, wait time.Duration) error {
		var w word
		err := validator.Get(t.Context(), at.Peer, path, wait, &w)
		if err == nil && w.Signed.Digest() != claim.Digest() {
			t.Errorf("%s: another claim", path)
		}
		return err
	}
	if err := get("/v1/claim/4", 0); !control.IsRefusal(err, control.Forbidden) {
		t.Errorf("a miner asks for a claim: %v", err)
	}
	promoted.Store(true)
	if err := get("/v1/claim/4", 0); !control.IsRefusal(err, control.Later) {
		t.Errorf("before the claim: %v", err)
	}
	go s.put(&offer{4, claim, gradient, grid.Digests(gradient)})
	if err := get("/v1/claim/4", 10*time.Second); err != nil {
		t.Errorf("the wait for the claim: %v", err)
	}
	if err := get("/v1/claim/3", 0); !control.IsRefusal(err, control.Absent) {
		t.Errorf("an old claim: %v", err)
	}
	src := &shownLeaves{validator, at.Peer, 4, 1}
	leaves, err := src.Digests(t.Context())
	if err != nil || merkle.Root(leaves) != merkle.Root(grid.Digests(gradient)) {
		t.Errorf("leaves: %v", err)
	}
	if raw, err := src.Leaf(t.Context(), 0); err != nil || grid.LeafDigest(0, raw) != leaves[0] {
		t.Errorf("leaf: %v", err)
	}
	if _, err := src.Leaf(t.Context(), 1); !control.IsRefusal(err, control.Absent) {
		t.Errorf("a leaf that does not exist: %v", err)
	}
	if _, err := (&shownLeaves{validator, at.Peer, 4, 2}).Digests(t.Context()); fault.KindOf(err) != fault.Damaged {
		t.Errorf("fewer leaves than the model has: %v", err)
	}
}
