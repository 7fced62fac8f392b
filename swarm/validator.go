package swarm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/swarm/control"
	"lockstep/validate"
)

// ValidatorConfig configures a validator.
type ValidatorConfig struct {
	Node
	Admit         []control.Seat // who may join: uid, peer ID, role
	Epochs        uint64         // the run's last epoch; 0: it has none
	Expect        int            // miners that the first epoch waits for; 0: all admitted
	JoinDeadline  time.Duration  // how long it waits for them; 0: for ever
	ClaimDeadline time.Duration  // of an epoch's claims; 0: 10 minutes
	RoundDeadline time.Duration  // of one attempt at averaging; 0: 2 minutes
	PushDeadline  time.Duration  // of one miner that pushes an epoch; 0: 10 minutes
	EvidenceDir   string         // evidence goes to EvidenceDir/evidence/EPOCH-UID; empty: Dir
}

func (c *ValidatorConfig) withDefaults() error {
	if c.ClaimDeadline == 0 {
		c.ClaimDeadline = 10 * time.Minute
	}
	if c.RoundDeadline == 0 {
		c.RoundDeadline = 2 * time.Minute
	}
	if c.PushDeadline == 0 {
		c.PushDeadline = pushTime
	}
	if c.EvidenceDir == "" {
		c.EvidenceDir = c.Dir
	}
	miners := 0
	for _, s := range c.Admit {
		if s.Role == control.Miner {
			miners++
		}
	}
	if c.Expect == 0 {
		c.Expect = miners
	}
	switch {
	case miners == 0:
		return fault.Errorf(fault.Config, "admission list: no miner is admitted")
	case c.Expect > miners:
		return fault.Errorf(fault.Config, "the first epoch would wait for %d miners, but %d are admitted", c.Expect, miners)
	case c.Hub == nil:
		return fault.Errorf(fault.Config, "the validator has no repository to check tags in")
	}
	return nil
}

// validator is the node that leads: it asks for claims, recomputes them, has
// those that are right averaged, and scores.
type validator struct {
	*node
	cfg       ValidatorConfig
	seats     *seating
	records   *records
	chronicle *chronicle

	publisher *publisher
	ended     atomic.Bool

	judged    map[uint32]*validate.Judgement // of the open epoch
	excluded  []uint32                       // from attempts at the open epoch
	stalled   bool                           // the leader pauses the open epoch
	proposing bool                           // claims are being collected
	slow      stragglers
	certified uint64 // newest epoch that the journal has a COMMIT of
}

// RunValidator leads a run until its last epoch is settled and pushed, Stop is
// closed (then it finishes the epoch in hand with the miners that are here, and
// has it pushed) or ctx ends. It may be killed and started again at any point:
// what it decided is in its journal, what it certified in its records, what it
// found in its ledger, and a step that it lost it takes from its miners.
func RunValidator(ctx context.Context, cfg ValidatorConfig) (Summary, error) {
	if err := cfg.withDefaults(); err != nil {
		return Summary{}, err
	}
	n, err := openNode(ctx, cfg.Node, commit.Solo(identityOf(cfg.Key).Peer))
	if err != nil {
		return Summary{}, err
	}
	defer n.close()
	v := &validator{node: n, cfg: cfg}
	if err := v.start(); err != nil {
		return Summary{}, err
	}
	defer v.chronicle.shut()
	n.goroutine(v.publisher.run)
	err = v.reason(v.run(n.ctx))
	s := v.chronicle.summary(v.fingerprint, v.seats.miners(), v.publisher.newest())
	v.emit(Finished{s})
	return s, err
}

// leaderName names the leader's machine and journal.
const leaderName = "leader"

// start reads what is on disk and begins to answer.
func (v *validator) start() (err error) {
	if !specific(v.address) {
		return fault.Errorf(fault.Config, "the validator listens on all interfaces (%s): say where its miners reach it (announce: host:port)", v.address)
	}
	if err := v.beginRun(); err != nil {
		return err
	}
	life, err := v.folder.Starts().load()
	if err == nil {
		life++
		err = v.folder.Starts().store(life) // before anybody sees a registry of this life
	}
	if err != nil {
		return fmt.Errorf("count of starts: %w", err)
	}
	if v.seats, err = newSeating(v.Run, v.runID(), v.id, v.cfg.Admit, v.address, life, v.book); err != nil {
		return err
	}
	if v.records, err = openRecords(v.folder.Records(), v.id.Peer); err != nil {
		return err
	}
	if err := validate.RestoreFolders(v.cfg.EvidenceDir); err != nil {
		return err
	}
	if v.chronicle, err = openChronicle(v.folder, v.Run, v.trusted); err != nil {
		return err
	}
	if err := v.compareLedger(); err != nil {
		return err
	}
	v.archive.note = func() map[string]string { return noteOf(v.chronicle.ledger.Head()) }
	if err := v.convictions.settled(v.chronicle.settled()); err != nil { // a crash may have left them
		return err
	}
	if err := v.begin(); err != nil {
		return err
	}
	if v.publisher, err = newPublisher(v); err != nil {
		return err
	}
	leader := func(journal []reduce.Record) (reduce.Machine, error) {
		c := reduce.LeaderConfig{Config: v.machineConfig(), MinGroup: 1, Deadline: v.cfg.RoundDeadline, Backoff: min(v.cfg.RoundDeadline, 5*time.Second)}
		l, err := reduce.NewLeader(c, journal)
		if err != nil {
			return nil, err
		}
		v.certified = newestCommit(l.Records())
		if last, _, _ := v.records.newest(); v.certified < last.Epoch {
			return nil, fault.Errorf(fault.Damaged, "%s has records up to epoch %d, but its leader journal knows of epoch %d only: restore %s as it was with the records", v.Dir, last.Epoch, v.certified, v.folder.Journal(leaderName))
		}
		return l, nil
	}
	observer := func([]reduce.Record) (reduce.Machine, error) { return reduce.NewObserver(v.machineConfig()) }
	if err := v.drive(machinePlan{leaderName, true, leader}, machinePlan{"observer", false, observer}); err != nil {
		return err
	}
	v.serve(control.Validator, nil, []control.Route{
		{Pattern: "POST /v1/join", Access: control.Anyone, Body: signed.MaxDocument, Burst: comings, Serve: v.serveJoin},
		{Pattern: "POST /v1/leave", Access: control.Seated, Body: 16, Burst: comings, Serve: v.serveLeave},
		{Pattern: "GET /v1/registry", Access: control.Seated, Serve: v.seats.serveRegistry},
		{Pattern: "GET /v1/epoch/{epoch}", Access: control.Seated, Serve: v.serveEpoch},
	})
	return nil
}

// run goes from epoch to epoch.
func (v *validator) run(ctx context.Context) error {
	var err error
	if last, _, _ := v.records.newest(); !v.over() || v.chronicle.settled() < last.Epoch {
		err = v.gather(ctx)
	}
	if err == nil {
		err = v.recover(ctx)
	}
	for err == nil && !v.over() {
		if v.stopping() {
			err = errStopped
			break
		}
		err = v.epoch(ctx)
	}
	if err == nil {
		err = v.finish(ctx)
	}
	if errors.Is(err, errStopped) {
		if err := v.publisher.await(ctx, v.state.Epoch); err != nil && ctx.Err() == nil {
			v.warn("%v", err)
		}
		return nil
	}
	return err
}

// over reports whether the last epoch is done.
func (v *validator) over() bool { return v.cfg.Epochs > 0 && v.state.Epoch >= v.cfg.Epochs }

// epoch does one epoch from claims to scores.
func (v *validator) epoch(ctx context.Context) error {
	began := time.Now()
	v.judged, v.excluded = map[uint32]*validate.Judgement{}, nil
	var r result
	var averaged bool
	var err error
	if v.certified <= v.state.Epoch { // else the journal has its decision already
		averaged, err = v.propose(ctx, &r)
	}
	if err == nil && !averaged {
		err = v.average(ctx, &r)
	}
	if err != nil {
		return err
	}
	if err := v.apply(ctx, &r, began); err != nil {
		return err
	}
	return v.settle(ctx, r)
}

// finish waits for the last push, tells the miners that the run is over, and
// gives them a moment to leave.
func (v *validator) finish(ctx context.Context) error {
	err := v.publisher.await(ctx, v.state.Epoch)
	v.ended.Store(true)
	v.records.bell.ring()
	v.emit(Ended{v.state.Epoch, v.digests.root})
	v.seats.bell.waitFor(ctx, 3*time.Second, func() bool { return len(v.seats.present()) == 0 })
	return err
}

// stopping reports whether Stop is closed.
func (v *validator) stopping() bool {
	select {
	case <-v.Stop:
		return true
	default:
		return false
	}
}

// comings is how often a node may join, or leave, at once; then it may once a
// second. Every time a registry is signed, which all others fetch.
const comings = 4

// serveJoin seats a node and connects to it.
func (v *validator) serveJoin(_ context.Context, c control.Call) (control.Reply, error) {
	var j control.Join
	if err := c.Read(&j); err != nil {
		return control.Reply{}, err
	}
	s, registry, err := v.seats.join(c.Peer, c.Host, j)
	if err != nil {
		return control.Reply{}, err
	}
	v.driver.Want([]reduce.Peer{{ID: s.Peer, Address: s.Address}})
	v.emit(Joined{UID: s.UID, Peer: s.Peer, Role: string(s.Role), Address: s.Address, Seated: len(v.seats.present()), Wanted: v.cfg.Expect})
	last, _, _ := v.records.newest()
	return control.Reply{Document: control.Joined{UID: s.UID, Registry: registry, Latest: last.Epoch, Final: v.cfg.Epochs}}, nil
}

func (v *validator) serveLeave(_ context.Context, c control.Call) (control.Reply, error) {
	v.lose(c.Seat, "it leaves")
	return control.Reply{}, nil
}

// serveEpoch gives the record of an epoch as soon as it exists.
func (v *validator) serveEpoch(ctx context.Context, c control.Call) (control.Reply, error) {
	epoch, err := c.Number("epoch")
	if err != nil {
		return control.Reply{}, err
	}
	v.records.bell.waitFor(ctx, c.Wait, func() bool {
		last, _, ok := v.records.newest()
		return (ok && last.Epoch >= epoch) || v.ended.Load() || !v.seats.isHere(c.Peer)
	})
	last, _, _ := v.records.newest()
	p := control.Progress{Latest: last.Epoch, Tagged: v.publisher.newest(), Final: v.cfg.Epochs, Ended: v.ended.Load(), Seated: v.seats.isHere(c.Peer)}
	view := struct {
		control.Progress
		Record *control.Record `json:"record"`
	}{Progress: p}
	if r, e, found := v.records.find(epoch); found {
		p.Record, view.Record = e, &r
	}
	return control.Reply{Document: p, View: view}, nil
}
