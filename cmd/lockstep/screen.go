package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"lockstep/config"
	"lockstep/internal/f32"
	"lockstep/observe"
	"lockstep/swarm"
)

// screen shows a local network's events: a line for each epoch, one for each
// cheat when it is first found, and a status line of who does what.
type screen struct {
	terminal *observe.Terminal
	config   config.Config
	epochs   map[uint64]*epochView
	miners   map[uint32]swarm.Progress // newest of each, for the status line
	found    map[string]bool           // cheats shown already
	out      map[uint32]bool           // miners that were left out of a round
	base     uint64                    // epochs that earlier processes did
	next     uint64                    // epoch to be printed
	meter    observe.Meter
	rate     float64 // tokens per second of the last epoch
	over     bool    // no more tags will come
}

// epochView collects what is known of an epoch.
type epochView struct {
	committed *swarm.Committed
	settled   *swarm.Settled
	kinds     map[uint32]string // by uid: the cheat found, or "" for exact
	tag       string
}

func newScreen(t *observe.Terminal, n *network) *screen {
	c := n.config
	t.Line("%s  %s on %s, %d miners, %d epochs; kernels %s",
		t.Bold("lockstep swarm"), c.Protocol.Model, c.Protocol.Data, c.Swarm.Miners, c.Swarm.Epochs, f32.Active())
	t.Line("run %s in %s; Ctrl-C finishes the epoch", n.fingerprint.Short(), n.dir)
	switch {
	case n.base >= uint64(c.Swarm.Epochs):
		t.Line("it has %d epochs already; --epochs with a higher number goes on", n.base)
	case n.base > 0:
		t.Line("going on after epoch %d", n.base)
	}
	t.Line("")
	s := &screen{
		terminal: t, config: c, epochs: map[uint64]*epochView{}, miners: map[uint32]swarm.Progress{},
		found: map[string]bool{}, out: map[uint32]bool{}, base: n.base, next: n.base + 1,
	}
	t.Line("%s", t.Dim(fmt.Sprintf("%*s     loss  gradients  averaged     state root        nodes  %*s    time", s.width(), "epoch", s.tagWidth(), "tag")))
	return s
}

// place writes how far the run is: 3/16.
func (s *screen) place(epoch uint64) string {
	return fmt.Sprintf("%*s", s.width(), fmt.Sprintf("%d/%d", epoch, s.config.Swarm.Epochs))
}

// width is that of the first column, tagWidth that of the tags.
func (s *screen) width() int    { return max(5, 1+2*len(fmt.Sprint(s.config.Swarm.Epochs))) }
func (s *screen) tagWidth() int { return max(3, len(fmt.Sprint(s.config.Swarm.Epochs))) }

func (s *screen) epoch(n uint64) *epochView {
	if s.epochs[n] == nil {
		s.epochs[n] = &epochView{kinds: map[uint32]string{}}
	}
	return s.epochs[n]
}

// show takes one event of the node called from.
func (s *screen) show(from string, event swarm.Event) {
	validator := from == "validator"
	switch e := event.(type) {
	case swarm.Judged:
		s.judged(e)
	case swarm.Attempt:
		for _, x := range e.Excluded {
			s.left(e.Epoch, x)
		}
	case swarm.Committed:
		// Miners say it too, of certified epochs, in case the validator was killed
		// before it could.
		if v := s.epoch(e.Epoch); validator || v.committed == nil {
			v.committed = &e
		}
	case swarm.Settled:
		s.epoch(e.Epoch).settled = &e
	case swarm.Pushed:
		s.epoch(e.Epoch).tag = e.Tag
	case swarm.Finished:
		s.over = true
		for _, x := range e.Summary.Epochs {
			if x.Epoch >= s.next {
				s.epoch(x.Epoch).complete(x)
			}
		}
	case swarm.Warning:
		s.terminal.Line("%s: %s", from, e.Text)
	case swarm.CaughtUp:
		if e.From != "average" || !s.out[e.UID] { // who is left out takes the average of the others
			s.terminal.Line("%s caught up to epoch %d by its %s", from, e.Epoch, e.From)
		}
	case swarm.Progress:
		if !validator {
			s.miners[e.UID] = e
		}
	}
	s.flush()
	s.status()
}

func (s *screen) judged(e swarm.Judged) {
	s.epoch(e.Epoch).kinds[e.UID] = e.Kind
	if e.Kind != "" {
		s.out[e.UID] = true
		s.cheat(e.UID, e.Kind, e.Text, e.Evidence)
	}
}

// left tells of a member that the next attempt goes on without. What is proved
// comes as a verdict, with its evidence.
func (s *screen) left(epoch uint64, x swarm.Excluded) {
	s.out[x.UID] = true
	if s.found[fmt.Sprint(x.UID, x.Kind)] || s.epoch(epoch).kinds[x.UID] != "" {
		return
	}
	s.terminal.Line("epoch %d goes on without miner %d: %s", epoch, x.UID, x.Kind)
}

// cheat announces what a miner did, once for each kind.
func (s *screen) cheat(uid uint32, kind, text, evidence string) {
	key := fmt.Sprint(uid, kind)
	if s.found[key] {
		return
	}
	s.found[key] = true
	s.terminal.Line("miner %d: %s", uid, s.terminal.Red(strings.ToUpper(kind)))
	if text != "" {
		s.terminal.Wrap("         ", text)
	}
	if evidence != "" {
		s.terminal.Line("         why: lockstep verify %s", evidence)
	}
}

// patience is how many epochs a row waits for its tag: pushing goes on beside
// the training and may fall behind.
const patience = 8

// complete adds what the validator's own account of an epoch says: events may
// have been lost with a process that was killed.
func (v *epochView) complete(x swarm.EpochSummary) {
	v.tag = x.Tag
	if v.committed == nil {
		v.committed = &swarm.Committed{
			Epoch: x.Epoch, Loss: x.Loss, State: x.StateRoot, Members: make([]uint32, x.Members),
			Attempts: uint32(x.Attempts), Tokens: x.Tokens, Seconds: x.Seconds,
		}
	}
	if v.settled == nil {
		v.settled = &swarm.Settled{Epoch: x.Epoch, Agree: x.NodesAgree}
	}
}

// flush prints the epochs that are complete, in order.
func (s *screen) flush() {
	for {
		v, later := s.epochs[s.next], s.epochs[s.next+patience]
		overdue := s.over || later != nil && later.settled != nil
		switch known := v != nil && v.committed != nil && v.settled != nil; {
		case known && (v.tag != "" || overdue):
			s.line(s.next, v)
		case known || !overdue || s.over:
			return
		default:
			s.terminal.Line("%s  was done while a process was being started again", s.place(s.next))
		}
		delete(s.epochs, s.next)
		s.next++
	}
}

func (s *screen) line(epoch uint64, v *epochView) {
	c := v.committed
	if c.Seconds > 0 {
		s.meter.Add(time.Duration(c.Seconds * float64(time.Second)))
		s.rate = float64(c.Tokens) / c.Seconds
	}
	averaged := fmt.Sprintf("%d", len(c.Members))
	if c.Attempts > 1 {
		averaged += fmt.Sprintf(" in try %d", c.Attempts)
	}
	nodes := s.terminal.Green("agree")
	if !v.settled.Agree {
		nodes = s.terminal.Red("DIFFER")
	}
	s.terminal.Line("%s  %7.4f  %-9s  %-11s  %s  %s  %*s  %6s",
		s.place(epoch), c.Loss, v.gradients(), averaged, c.State.String()[:16], nodes, s.tagWidth(), v.tag,
		observe.Duration(time.Duration(c.Seconds*float64(time.Second))))
}

// gradients says how many of the epoch's gradients were exact.
func (v *epochView) gradients() string {
	exact := 0
	for _, kind := range v.kinds {
		if kind == "" {
			exact++
		}
	}
	return fmt.Sprintf("%d/%d exact", exact, len(v.kinds))
}

// status shows the epoch under way: how far the miners are, how fast the
// network is, how long the rest will take.
func (s *screen) status() {
	var done, quota uint64
	computing := 0
	for _, p := range s.miners {
		if p.Epoch == s.next && p.Phase == "computing" {
			computing++
		}
		done, quota = done+p.Done, quota+p.Quota
	}
	what, part := "averaging", 1.0
	if computing > 0 {
		what, part = fmt.Sprintf("%d of %d sequences", done, quota), float64(done)/float64(max(quota, 1))
	}
	total := s.config.Swarm.Epochs
	if s.next > uint64(total) {
		what, part = "closing", 0
	}
	rate, eta := "", ""
	if s.rate > 0 {
		rate = observe.Count(int64(s.rate)) + " tok/s"
		eta = "eta " + observe.Duration(s.meter.ETA(total-int(s.next)+1))
	}
	place := fmt.Sprintf("%d/%d", min(s.next, uint64(total)), total)
	s.terminal.Progress((float64(s.next-1)+part)/float64(total), place, what, rate, eta)
}

// printSwarm writes the result of a network for a person.
func (a *app) printSwarm(n *network, took time.Duration) {
	if len(n.summary.Epochs) == 0 {
		return
	}
	var losses []float64
	tag := "" // the newest
	for _, e := range n.summary.Epochs {
		losses = append(losses, e.Loss)
		if e.Tag != "" {
			tag = e.Tag
		}
	}
	last := n.summary.Epochs[len(losses)-1]
	epochs := fmt.Sprintf("%d epochs in %s", len(losses), observe.Duration(took))
	if later := len(losses) - int(n.base); n.base > 0 && later > 0 {
		epochs = fmt.Sprintf("%d epochs, the last %d in %s", len(losses), later, observe.Duration(took))
	}
	fmt.Fprintln(a.stdout)
	a.printMiners(n.summary)
	fmt.Fprintf(a.stdout, "\nloss %.4f -> %.4f  %s  %s\nstate root %s\n\n", losses[0], last.Loss, observe.Sparkline(losses), epochs, last.StateRoot)
	if tag != "" {
		fmt.Fprintf(a.stdout, "use it    lockstep generate --model %s@%s --prompt \"The\"\n", repositoryName(n.config), tag)
	}
	fmt.Fprintf(a.stdout, "check it  lockstep verify %s\n", filepath.Join(n.dir, "evidence", "1-0"))
}

// printMiners writes the table of miners.
func (a *app) printMiners(s swarm.Summary) {
	rows := [][]string{{"miner", "peer", "gradient", "kind", "steps", "bandwidth", "score", "weight"}}
	for _, m := range s.Miners {
		rows = append(rows, []string{
			fmt.Sprint(m.UID), m.Peer.Short(), m.Gradient, m.Kind,
			millionths(m.Steps), millionths(m.Bandwidth), millionths(m.Score), fmt.Sprint(m.Weight),
		})
	}
	for _, line := range observe.Table(rows, 0, 4, 5, 6, 7) {
		fmt.Fprintln(a.stdout, line)
	}
}

func millionths(n uint32) string { return fmt.Sprintf("%.3f", float64(n)/1e6) }
