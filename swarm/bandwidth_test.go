package swarm

import (
	"context"
	"testing"
	"time"

	"lockstep/internal/merkle"
	"lockstep/swarm/control"
	"lockstep/validate"
)

// spoiled replaces how chunks of a vector are served.
func spoiled(routes []control.Route, vector string, serve func(context.Context, control.Call, func() (control.Reply, error)) (control.Reply, error)) []control.Route {
	out := append([]control.Route(nil), routes...)
	for i, r := range out {
		if r.Pattern != "GET /v1/state/{epoch}/{vector}/chunk/{chunk}" {
			continue
		}
		out[i].Serve = func(ctx context.Context, c control.Call) (control.Reply, error) {
			honest := func() (control.Reply, error) { return r.Serve(ctx, c) }
			if c.Word("vector") != vector {
				return honest()
			}
			return serve(ctx, c, honest)
		}
	}
	return out
}

// TestBandwidth: whatever a miner does with a chunk that it does not want to
// serve, it is worth less than serving it late.
func TestBandwidth(t *testing.T) {
	t.Parallel()
	const limit, late = 8 * time.Second, 300 * time.Millisecond
	state, honest := library(t, 5, nil)
	layout := testState(t, 5).Layout
	miners := map[string]Address{
		"late": server(t, spoiled(honest, "m", func(_ context.Context, _ control.Call, honest func() (control.Reply, error)) (control.Reply, error) {
			time.Sleep(late)
			return honest()
		})),
		"refusing": server(t, spoiled(honest, "m", func(context.Context, control.Call, func() (control.Reply, error)) (control.Reply, error) {
			return control.Reply{}, control.Refuse(control.Absent, "not this one")
		})),
		"wrong": server(t, spoiled(honest, "m", func(_ context.Context, _ control.Call, honest func() (control.Reply, error)) (control.Reply, error) {
			r, err := honest()
			r.Raw[0] ^= 1
			return r, err
		})),
		"silent": server(t, spoiled(honest, "m", func(ctx context.Context, _ control.Call, _ func() (control.Reply, error)) (control.Reply, error) {
			<-ctx.Done()
			return control.Reply{}, ctx.Err()
		})),
		"without a state": server(t, nil),
	}
	var all []Address
	for _, a := range miners {
		all = append(all, a)
	}
	p := &probe{client: client(t, all...), layout: layout, state: state, limit: limit, warn: t.Logf}
	refs := []validate.ChunkRef{{Vector: merkle.KindParameters}, {Vector: merkle.KindMomentM}, {Vector: merkle.KindMomentV}}
	var measures []validate.Measure
	uids := map[string]uint32{}
	for name, a := range miners {
		m := validate.Measure{UID: uint32(len(uids)), Peer: a.Peer, Exact: true, Tokens: 1}
		m.Bytes, m.Nanos = p.measure(t.Context(), a.Peer, refs)
		uids[name] = m.UID
		measures = append(measures, m)
		whole := uint64(12 * layout.Elements)
		switch name {
		case "late":
			if m.Bytes != whole || m.Nanos < uint64(late) || m.Nanos >= uint64(limit) {
				t.Errorf("%s: %d of %d bytes in %v", name, m.Bytes, whole, time.Duration(m.Nanos))
			}
		case "without a state":
			if m.Bytes != 0 || m.Nanos != uint64(limit) {
				t.Errorf("%s: %d bytes in %v", name, m.Bytes, time.Duration(m.Nanos))
			}
		default:
			if m.Bytes == 0 || m.Bytes >= whole || m.Nanos != uint64(limit) {
				t.Errorf("%s: %d of %d bytes in %v", name, m.Bytes, whole, time.Duration(m.Nanos))
			}
		}
	}
	scores, err := validate.ScoreEpoch(measures, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, uid := range uids {
		if s := scores[uid]; (s.Bandwidth == validate.Million) != (name == "late") {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
