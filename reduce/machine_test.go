package reduce

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/reduce/commit"
)

// stage holds a leader's key and members' keys and claims, for tests that feed
// one machine by hand.
type stage struct {
	shape  commit.Shape
	leader Config
	config []Config
	claims []commit.Signed[commit.Claim]
	grads  [][]float32
	leaves [][]merkle.Digest
}

func newStage(n int) *stage {
	s := &stage{shape: commit.Shape{Codec: merkle.CodecF32, Elements: 40, LeafElements: 4, ChunkLeaves: 2}}
	s.leader = s.newConfig(99)
	s.leader.Validators = commit.Solo(s.leader.self())
	for i := range n {
		c := s.newConfig(i)
		c.Validators = s.leader.Validators
		x := make([]float32, s.shape.Elements)
		for k := range x {
			x[k] = float32(k + 100*i)
		}
		leaves := s.shape.Digests(merkle.KindGradient, x)
		s.config, s.grads, s.leaves = append(s.config, c), append(s.grads, x), append(s.leaves, leaves)
		s.claims = append(s.claims, commit.Seal(commit.Claim{
			Fingerprint: c.Fingerprint, RunID: c.RunID, Epoch: 5, UID: uint32(i), Base: c.Root, Tokens: 10, Gradient: merkle.Root(leaves), Elements: 40,
		}, c.Key))
	}
	return s
}

func (s *stage) newConfig(i int) Config {
	return Config{Fingerprint: merkle.Digest{7}, RunID: spec.RunID{3}, Key: keyOf(1, i), Shape: s.shape, Epoch: 4, Root: merkle.Digest{4}}
}

func (s *stage) member(t *testing.T, i int, journal ...Record) *Member {
	t.Helper()
	m, err := NewMember(MemberConfig{s.config[i], uint32(i)}, journal)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (s *stage) newLeader(t *testing.T, journal ...Record) *Leader {
	t.Helper()
	l, err := NewLeader(LeaderConfig{Config: s.leader, MinGroup: 1, Deadline: 10 * time.Second}, journal)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (s *stage) open() Open {
	e := Open{Epoch: 5, Base: s.leader.Root}
	for _, c := range s.claims {
		e.Candidates = append(e.Candidates, Candidate{Claim: c})
	}
	return e
}

// roster returns what the leader sends when it opens the epoch.
func (s *stage) roster(t *testing.T) RosterMessage {
	for _, a := range s.newLeader(t).Step(0, s.open()) {
		if m, ok := a.(Send); ok {
			return m.Message.(RosterMessage)
		}
	}
	t.Fatal("the leader opens no attempt")
	return RosterMessage{}
}

// find returns the actions of one type.
func find[T Action](actions []Action) (out []T) {
	for _, a := range actions {
		if x, ok := a.(T); ok {
			out = append(out, x)
		}
	}
	return out
}

func TestConfigsAreChecked(t *testing.T) {
	s := newStage(1)
	for name, change := range map[string]func(*LeaderConfig){
		"no key":        func(c *LeaderConfig) { c.Key = nil },
		"no shape":      func(c *LeaderConfig) { c.Shape = commit.Shape{} },
		"window":        func(c *LeaderConfig) { c.Window = MaxWindow + 1 },
		"no validators": func(c *LeaderConfig) { c.Validators = commit.Validators{} },
		"need":          func(c *LeaderConfig) { c.Validators.Need = 2 },
		"min_group":     func(c *LeaderConfig) { c.MinGroup = commit.MaxMembers + 1 },
		"deadline":      func(c *LeaderConfig) { c.Deadline = time.Millisecond },
		"back-off":      func(c *LeaderConfig) { c.Backoff = -1 },
		"stranger":      func(c *LeaderConfig) { c.Key = s.config[0].Key },
		"two must sign": func(c *LeaderConfig) {
			c.Validators = commit.Validators{Peers: []signed.PeerID{{1}, c.self()}, Need: 2}
		},
	} {
		c := LeaderConfig{Config: s.leader}
		change(&c)
		if _, err := NewLeader(c, nil); fault.KindOf(err) != fault.Config {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewMember(MemberConfig{}, nil); fault.KindOf(err) != fault.Config {
		t.Errorf("an empty member: %v", err)
	}
	if _, err := NewObserver(Config{}); fault.KindOf(err) != fault.Config {
		t.Errorf("an empty observer: %v", err)
	}
}

// TestFreezeIsChecked: a gradient that is not the claimed one, or not finite,
// never gets into a round.
func TestFreezeIsChecked(t *testing.T) {
	s := newStage(2)
	good := Freeze{s.claims[0], s.grads[0], s.leaves[0]}
	reclaim := func(change func(*commit.Claim)) Freeze {
		c := good.Claim.Doc()
		change(&c)
		return Freeze{commit.Seal(c, s.config[0].Key), good.Gradient, good.Leaves}
	}
	poisoned := slices.Clone(good.Gradient)
	poisoned[39] = poisoned[39] / 0 * 0
	poisonedLeaves := s.shape.Digests(merkle.KindGradient, poisoned)
	nan := reclaim(func(c *commit.Claim) { c.Gradient = merkle.Root(poisonedLeaves) })
	nan.Gradient, nan.Leaves = poisoned, poisonedLeaves
	for name, e := range map[string]Freeze{
		"another's claim":  {s.claims[1], s.grads[1], s.leaves[1]},
		"another uid":      reclaim(func(c *commit.Claim) { c.UID = 1 }),
		"another run":      reclaim(func(c *commit.Claim) { c.Fingerprint[0]++ }),
		"another epoch":    reclaim(func(c *commit.Claim) { c.Epoch++ }),
		"another base":     reclaim(func(c *commit.Claim) { c.Base[0]++ }),
		"another gradient": reclaim(func(c *commit.Claim) { c.Gradient[0]++ }),
		"another size":     {good.Claim, good.Gradient[1:], good.Leaves},
		"NaN":              nan,
	} {
		if r := find[Refused](s.member(t, 0).Step(0, e)); len(r) != 1 || fault.KindOf(r[0].Err) != fault.Unexpected {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := find[Refused](s.member(t, 0).Step(0, good)); len(r) != 0 {
		t.Errorf("the good gradient: %v", r[0].Err)
	}
}

// TestMemberChecksRosters: who signs, what it says of the claims, on which state.
func TestMemberChecksRosters(t *testing.T) {
	s := newStage(3)
	good := s.roster(t)
	leader := s.leader.self()
	change := func(key ed25519.PrivateKey, f func(*commit.Roster)) RosterMessage {
		r := good.Roster.Doc()
		r.Members = slices.Clone(r.Members)
		f(&r)
		return RosterMessage{commit.Seal(r, key), good.Claims}
	}
	same := func(*commit.Roster) {}
	for name, tt := range map[string]struct {
		from signed.PeerID
		msg  RosterMessage
	}{
		"passed on by a member": {s.config[1].self(), good},
		"signed by a member":    {s.config[1].self(), change(s.config[1].Key, same)},
		"other run":             {leader, change(s.leader.Key, func(r *commit.Roster) { r.Fingerprint[0]++ })},
		"epoch passed":          {leader, change(s.leader.Key, func(r *commit.Roster) { r.Epoch = 4 })},
		"epoch to come":         {leader, change(s.leader.Key, func(r *commit.Roster) { r.Epoch = 6 })},
		"other base":            {leader, change(s.leader.Key, func(r *commit.Roster) { r.Base[0]++ })},
		"other size":            {leader, change(s.leader.Key, func(r *commit.Roster) { r.Elements++ })},
		"other gradient":        {leader, change(s.leader.Key, func(r *commit.Roster) { r.Members[1].Gradient[0]++ })},
		"own gradient changed":  {leader, change(s.leader.Key, func(r *commit.Roster) { r.Members[0].Gradient[0]++ })},
		"more tokens":           {leader, change(s.leader.Key, func(r *commit.Roster) { r.Members[1].Tokens++ })},
		"claims left out":       {leader, RosterMessage{good.Roster, good.Claims[1:]}},
		"claims swapped":        {leader, RosterMessage{good.Roster, []commit.Signed[commit.Claim]{good.Claims[1], good.Claims[0], good.Claims[2]}}},
	} {
		m := s.member(t, 0)
		m.Step(0, Freeze{s.claims[0], s.grads[0], s.leaves[0]})
		for _, a := range m.Step(0, Arrival{tt.from, tt.msg}) {
			if send, ok := a.(Send); ok {
				t.Errorf("%s: the member answers %T", name, send.Message)
			}
		}
		if _, in := m.Current(); in {
			t.Errorf("%s: the member joins", name)
		}
	}
	m := s.member(t, 0)
	if d := find[Diverged](m.Step(0, Arrival{leader, change(s.leader.Key, func(r *commit.Roster) { r.Base[0]++ })})); len(d) != 1 || d[0].Have != s.leader.Root {
		t.Errorf("a foreign base is not reported: %v", d)
	}
	if out := m.Step(0, Arrival{leader, good}); len(find[Send](out)) > 0 {
		t.Error("a member without a gradient joins")
	}
	m.Step(0, Freeze{s.claims[0], s.grads[0], s.leaves[0]})
	out := find[Send](m.Step(0, Arrival{leader, good}))
	if len(out) != 1 || out[0].To != leader {
		t.Fatalf("the good roster is answered by %v", out)
	}
	again := find[Send](m.Step(time.Second, Arrival{leader, good}))
	if len(again) == 0 || again[0].Message.(CommitmentMessage).Commitment.Digest() != out[0].Message.(CommitmentMessage).Commitment.Digest() {
		t.Error("asked again, the member commits to something else")
	}
	twin := s.member(t, 0) // after a crash that left no journal
	twin.Step(0, Freeze{s.claims[0], s.grads[0], s.leaves[0]})
	after := find[Send](twin.Step(0, Arrival{leader, good}))
	if after[0].Message.(CommitmentMessage).Commitment.Digest() != out[0].Message.(CommitmentMessage).Commitment.Digest() {
		t.Error("after a crash the member commits to something else")
	}
}

func TestMemberChecksSets(t *testing.T) {
	s := newStage(2)
	good := s.roster(t)
	leader := s.leader.self()
	join := func(i int) (*Member, commit.Signed[commit.Commitment]) {
		m := s.member(t, i)
		m.Step(0, Freeze{s.claims[i], s.grads[i], s.leaves[i]})
		return m, find[Send](m.Step(0, Arrival{leader, good}))[0].Message.(CommitmentMessage).Commitment
	}
	_, c0 := join(0)
	_, c1 := join(1)
	id := good.Roster.Digest()
	set := func(key ed25519.PrivateKey, listed []merkle.Digest, beside ...commit.Signed[commit.Commitment]) SetMessage {
		return SetMessage{commit.Seal(commit.Set{Roster: id, Commitments: listed}, key), beside}
	}
	both := []merkle.Digest{c0.Digest(), c1.Digest()}
	for name, msg := range map[string]SetMessage{
		"by a member":      set(s.config[1].Key, both, c0, c1),
		"one left out":     set(s.leader.Key, both[:1], c0),
		"list and tail":    set(s.leader.Key, both, c0),
		"ours is another":  set(s.leader.Key, []merkle.Digest{c1.Digest(), c1.Digest()}, c1, c1),
		"digest of others": set(s.leader.Key, []merkle.Digest{c0.Digest(), {1}}, c0, c1),
	} {
		m, _ := join(0)
		if out := m.Step(0, Arrival{leader, msg}); len(find[Send](out)) > 0 {
			t.Errorf("%s: the member opens", name)
		}
	}
	m, _ := join(0)
	out := find[Send](m.Step(0, Arrival{leader, set(s.leader.Key, both, c0, c1)}))
	opened := 0
	for _, a := range out {
		if _, ok := a.Message.(OpeningMessage); ok {
			opened++
		}
	}
	if opened != 2 {
		t.Errorf("the good set makes the member open to %d peers, want leader and member", opened)
	}
}

// TestMemberProvesAgain: evidence that went to a leader who was killed meanwhile
// is sent once more when it is back, before the vote that rests on it.
func TestMemberProvesAgain(t *testing.T) {
	s := newStage(2)
	good, leader := s.roster(t), s.leader.self()
	join := func(i int) (*Member, commit.Signed[commit.Commitment]) {
		m := s.member(t, i)
		m.Step(0, Freeze{s.claims[i], s.grads[i], s.leaves[i]})
		return m, find[Send](m.Step(0, Arrival{leader, good}))[0].Message.(CommitmentMessage).Commitment
	}
	m, c0 := join(0)
	_, c1 := join(1)
	id := good.Roster.Digest()
	set := commit.Seal(commit.Set{Roster: id, Commitments: []merkle.Digest{c0.Digest(), c1.Digest()}}, s.leader.Key)
	m.Step(0, Arrival{leader, SetMessage{set, []commit.Signed[commit.Commitment]{c0, c1}}})
	lie := commit.Seal(commit.Opening{Roster: id, UID: 1, Claim: s.claims[1].Digest(), Root: merkle.Digest{1}}, s.config[1].Key)
	proofs := func(actions []Action) (n int) {
		voted := false
		for _, a := range find[Send](actions) {
			switch a.Message.(type) {
			case EvidenceMessage:
				if n++; a.To != leader || voted {
					t.Errorf("evidence to %s, after the vote: %v", a.To.Short(), voted)
				}
			case VoteMessage:
				voted = true
			}
		}
		return n
	}
	if n := proofs(m.Step(0, Arrival{s.config[1].self(), OpeningMessage{Opening: lie, Leaves: s.leaves[1]}})); n != 1 {
		t.Fatalf("%d pieces of evidence for a false opening", n)
	}
	m.Step(0, Disconnected{leader})
	if n := proofs(m.Step(0, Connected{leader})); n != 1 {
		t.Errorf("%d pieces of evidence to the leader that is back", n)
	}
	if n := proofs(m.Step(0, Connected{s.config[1].self()})); n != 0 {
		t.Error("evidence to the accused")
	}
}
