package swarm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"lockstep/internal/fault"
	"lockstep/reduce"
	"lockstep/stream"
)

// silentText is text that does not come before it is released.
type silentText struct {
	stream.Source
	released chan struct{}
}

func (s *silentText) Text(ctx context.Context, row uint64) (stream.Row, error) {
	select {
	case <-s.released:
		return s.Source.Text(ctx, row)
	case <-ctx.Done():
		return stream.Row{}, ctx.Err()
	}
}

// nagging is a machine that also says something every few milliseconds.
type nagging struct {
	reduce.Machine
	says reduce.Action
	next time.Duration
}

func (m *nagging) Step(now time.Duration, e reduce.Event) []reduce.Action {
	out := m.Machine.Step(now, e)
	if now >= m.next {
		m.next = now + 20*time.Millisecond
		out = append(out, m.says)
	}
	return out
}

func (m *nagging) Next() time.Duration { return min(m.next, m.Machine.Next()) }

// waiting runs two miners, of which one has no claim yet, and returns once the
// validator has judged the other one's and waits.
func waiting(t *testing.T, change func(*ValidatorConfig)) (n *network, v *running, release func()) {
	n = newNetwork(t, 2, 0, 1)
	v = n.validator(change)
	slow := &silentText{n.source, make(chan struct{})}
	n.miner(1, func(c *MinerConfig) { c.Source = slow })
	n.miner(0)
	n.await("validator", func(e Event) bool { j, ok := e.(Judged); return ok && j.UID == 0 })
	return n, v, func() { close(slow.released) }
}

// TestMailIsReadWhileClaimsAreCollected: what the leader says meanwhile, such as
// that an attempt of before a restart has succeeded, is heard.
func TestMailIsReadWhileClaimsAreCollected(t *testing.T) {
	t.Parallel()
	says := reduce.Refused{Err: errors.New("can you hear me")}
	n, v, release := waiting(t, func(c *ValidatorConfig) {
		c.tap = func(name string, m reduce.Machine) reduce.Machine {
			if name != leaderName {
				return m
			}
			return &nagging{Machine: m, says: says}
		}
	})
	heard := func() (k int) {
		for _, w := range all[Warning](n, "validator") {
			if strings.Contains(w.Text, says.Err.Error()) {
				k++
			}
		}
		return k
	}
	before := heard()
	if !n.news.waitFor(t.Context(), 20*time.Second, func() bool { return heard() > before }) {
		t.Error("the mail is not read")
	}
	release()
	if err := v.wait(); err != nil {
		t.Error(err)
	}
}

// TestFailedDriverEndsTheNode: wherever a validator or a miner waits.
func TestFailedDriverEndsTheNode(t *testing.T) {
	t.Parallel()
	broken := reduce.Append{Record: reduce.Record{Kind: 99}}
	start := make(chan struct{})
	_, v, _ := waiting(t, func(c *ValidatorConfig) {
		c.tap = func(name string, m reduce.Machine) reduce.Machine {
			if name != leaderName {
				return m
			}
			return &later{nagging{Machine: m, says: broken}, start}
		}
	})
	close(start)
	if err := v.wait(); fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), "cannot be read back") {
		t.Errorf("while it collects claims: %v (%v)", err, fault.KindOf(err))
	}
}

// later is a machine that nags once it is told to.
type later struct {
	nagging
	start chan struct{}
}

func (m *later) Step(now time.Duration, e reduce.Event) []reduce.Action {
	select {
	case <-m.start:
		return m.nagging.Step(now, e)
	default:
		m.next = now + 20*time.Millisecond
		return m.Machine.Step(now, e)
	}
}
