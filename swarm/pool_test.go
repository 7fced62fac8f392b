package swarm

import (
	"context"
	"slices"
	"testing"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/swarm/control"
)

func TestPool(t *testing.T) {
	silent := fault.Errorf(fault.Network, "it cannot be reached")
	absent := control.Refuse(control.Absent, "gone")
	later := control.Refuse(control.Later, "not yet")
	wrong := fault.Errorf(fault.Damaged, "wrong bytes")
	tests := []struct {
		name    string
		answers map[byte][]error // by peer, one for each time that it is asked; the last one repeats
		asked   []byte
		ok      bool
	}{
		{"the next one serves", map[byte][]error{0: {silent}, 1: {nil}}, []byte{0, 1}, true},
		{"a silent one comes back", map[byte][]error{0: {silent, nil}}, []byte{0, 0}, true},
		{"one that will have it", map[byte][]error{0: {later, later, nil}}, []byte{0, 0, 0}, true},
		{"a liar is not asked again", map[byte][]error{0: {wrong}, 1: {silent, nil}}, []byte{0, 1, 1}, true},
		{"nor is one without it", map[byte][]error{0: {absent}, 1: {silent, nil}}, []byte{0, 1, 1}, true},
		{"nobody has it", map[byte][]error{0: {absent}, 1: {wrong}}, []byte{0, 1}, false},
		{"silent for ever", map[byte][]error{0: {silent}}, []byte{0, 0, 0, 0}, false},
		{"nobody", nil, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var all []signed.PeerID
			for i := range len(tt.answers) {
				all = append(all, peer(byte(i)))
			}
			p := newPool(func() []signed.PeerID { return slices.Clone(all) })
			var asked []byte
			err := p.try(t.Context(), 0, func(who signed.PeerID) error {
				asked = append(asked, who[1])
				answers := tt.answers[who[1]]
				if len(answers) > 1 {
					tt.answers[who[1]] = answers[1:]
				}
				return answers[0]
			}, t.Logf)
			if (err == nil) != tt.ok || (err != nil && fault.KindOf(err) != fault.Network) {
				t.Errorf("%v (%v)", err, fault.KindOf(err))
			}
			if !slices.Equal(asked, tt.asked) {
				t.Errorf("asked %v, want %v", asked, tt.asked)
			}
		})
	}
}

// TestPoolMeetsNewcomers: who joins while a transfer runs dry is asked as well.
func TestPoolMeetsNewcomers(t *testing.T) {
	t.Parallel()
	all := []signed.PeerID{peer(0)}
	p := newPool(func() []signed.PeerID { return slices.Clone(all) })
	err := p.try(t.Context(), 0, func(who signed.PeerID) error {
		if who == peer(1) {
			return nil
		}
		all = []signed.PeerID{peer(1)}
		return fault.Errorf(fault.Network, "it cannot be reached")
	}, t.Logf)
	if err != nil {
		t.Error(err)
	}
}

func TestPoolEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newPool(func() []signed.PeerID { return []signed.PeerID{peer(0)} })
	err := p.try(ctx, 0, func(signed.PeerID) error {
		cancel()
		return fault.Errorf(fault.Network, "it cannot be reached")
	}, t.Logf)
	if fault.KindOf(err) != fault.Interrupted {
		t.Errorf("%v (%v)", err, fault.KindOf(err))
	}
}
