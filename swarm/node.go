package swarm

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/optim"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/reduce/transport"
	"lockstep/stream"
	"lockstep/stream/tokenizer"
	"lockstep/swarm/control"
	"lockstep/validate"
)

// Node is what miners and validators have in common. The zero value is not
// valid: Dir, Key, Listen, Run, Source and Initial are needed.
type Node struct {
	Dir        string             // the node's folder; see Folder
	Key        ed25519.PrivateKey // see EnsureIdentity
	Listen     string             // host:port; port 0 for any free one
	Announce   string             // where others reach this node; empty: the address listened on
	Hotkey     string             // Bittensor hotkey for the registry, or empty
	Run        *spec.Run
	Source     stream.Source
	Initial    func() (*model.Parameters, error) // weights of epoch 0
	Hub        hub.Repository                    // where epochs go; a miner without one pushes nothing
	MicroBatch int                               // sequences computed at a time; 0: the model's choice
	Backlog    int                               // states that wait for the repository at most; 0: as many as 32 GiB hold
	Emit       func(Event)                       // called in order, on a goroutine of its own; nil: nobody listens
	Stop       <-chan struct{}                   // closed to finish and leave; nil: never

	saver saveState                                          // for tests: another hub.SaveState
	tap   func(name string, m reduce.Machine) reduce.Machine // for tests: looks at a machine's steps
}

// node is a Node at work.
type node struct {
	Node
	ctx         context.Context // ends with the node
	cancel      context.CancelFunc
	workers     sync.WaitGroup
	folder      Folder
	id          Identity
	trusted     commit.Validators
	fingerprint merkle.Digest
	instance    atomic.Pointer[spec.RunID] // see runID
	config      model.Config
	tokenizer   tokenizer.Tokenizer
	computer    *validate.Computer
	optimizer   optim.Config
	shape       commit.Shape

	state   *model.State
	digests *digests // of state; nil while it is half overwritten
	base    uint64   // epoch of the state at the start
	tokens  atomic.Uint64

	archive     *archive
	averages    averages
	convictions convictions // of a validator that leads
	news        bell        // rung when the archive has a new state
	book        *book
	client      *control.Client
	fetch       *fetcher
	endpoint    *transport.Endpoint
	address     string
	driver      *transport.Driver
	mail        *mailbox[reduce.Action] // from the driver
	failure     atomic.Pointer[error]   // why the node cannot go on; see fail

	speaker *speaker // nil: nobody listens
	cleanup []func() // undoes what was opened, in that order
}

// openNode takes the folder, reads the state, and opens the port. Nobody is
// answered before serve.
func openNode(ctx context.Context, cfg Node, trusted commit.Validators) (*node, error) {
	n := &node{
		Node: cfg, folder: Folder(cfg.Dir), id: identityOf(cfg.Key), trusted: trusted, fingerprint: cfg.Run.Fingerprint(),
		convictions: convictions(Folder(cfg.Dir).Convictions()), mail: newMailbox[reduce.Action](), book: &book{},
	}
	n.ctx, n.cancel = context.WithCancel(ctx)
	if cfg.Emit != nil {
		n.speaker = newSpeaker(cfg.Emit)
	}
	if err := n.open(); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *node) open() error {
	release, err := n.folder.Open(n.Run)
	if err != nil {
		return err
	}
	n.cleanup = append(n.cleanup, release)
	id, err := n.folder.loadRunID()
	if err != nil {
		return err
	}
	if !id.IsZero() {
		n.instance.Store(&id)
	}
	if err := n.assemble(); err != nil {
		return err
	}
	if err := n.restore(n.ctx); err != nil {
		return err
	}
	return n.listen()
}

// assemble makes the tools that the run spec describes.
func (n *node) assemble() (err error) {
	if n.computer, err = validate.NewComputer(n.Run, n.Source, n.MicroBatch); err != nil {
		return err
	}
	if n.tokenizer, err = validate.Tokenizer(n.Run); err != nil {
		return err
	}
	if n.config, err = model.FromSpec(n.Run.Model); err != nil {
		return err
	}
	n.optimizer = optim.Config(n.Run.Optimizer)
	if err := n.optimizer.Validate(); err != nil {
		return err
	}
	n.shape = shapeOf(n.layout().Elements)
	return nil
}

// shapeOf returns the grid of a round: that of N22. Where it would have a single
// chunk, leaves take the place of chunks: otherwise one member would reduce
// everything, and nobody would ever see what it adds itself.
func shapeOf(elements int) commit.Shape {
	s := commit.StandardShape(elements)
	if s.Chunks() == 1 {
		s.ChunkLeaves = 1
	}
	return s
}

func (n *node) layout() *model.Layout { return n.computer.Layout() }

// backlogBytes bounds the states that wait for the repository, unless the caller
// does.
const backlogBytes = 32 << 30

// backlog returns how many states may wait for the repository.
func (n *node) backlog() int {
	if n.Backlog > 0 {
		return max(n.Backlog, keepStates)
	}
	const vectorBytes = 3 * 4 // parameters and two moments
	return min(max(backlogBytes/(vectorBytes*n.layout().Elements), 8), 4096)
}

// restore reads the newest saved state, or begins with the initial weights.
func (n *node) restore(ctx context.Context) error {
	if n.saver == nil {
		n.saver = hub.SaveState
	}
	n.archive = &archive{dir: n.folder.States(), save: n.saver, backlog: n.backlog()}
	n.cleanup = append(n.cleanup, n.archive.close, n.workers.Wait)
	n.state = model.NewState(model.NewParameters(n.config))
	sign := func(s control.State) signed.Envelope { return control.Seal(s, n.id.Key) }
	d, skipped, err := n.archive.load(ctx, n.fingerprint, n.runID(), n.state, sign)
	if err != nil {
		return err
	}
	for _, s := range skipped {
		n.warn("%v", s)
	}
	if d == nil {
		p, err := n.Initial()
		if err != nil {
			return err
		}
		if p.Config != n.config {
			return fault.Errorf(fault.Config, "the initial weights are of another architecture than the run's model")
		}
		n.state = model.NewState(p)
		d = digestsOf(n.fingerprint, n.runID(), n.state)
		if want := n.Run.Init.Parameters; !want.IsZero() && d.Parameters != want {
			return fault.Errorf(fault.Config, "the initial weights have root %s; the run starts from %s", d.Parameters.Short(), want.Short())
		}
	}
	n.digests, n.base = d, n.state.Epoch
	return nil
}

// listen opens the port.
func (n *node) listen() (err error) {
	n.endpoint, err = transport.Listen(n.Listen, n.id.Key, transport.Options{Allow: func(p signed.PeerID) error {
		if _, ok := n.book.seat(p); !ok {
			return fault.Errorf(fault.Network, "%s has no seat", p.Short())
		}
		return nil
	}})
	if err != nil {
		return err
	}
	n.cleanup = append(n.cleanup, func() { n.endpoint.Close() })
	if n.address = n.Announce; n.address == "" {
		n.address = n.endpoint.Addr().String()
	}
	if err := control.CheckAddress(n.address); err != nil {
		return fault.Errorf(fault.Config, "announced address: %w", err)
	}
	n.client = control.NewClient(func(ctx context.Context, p signed.PeerID) (*tls.Conn, error) {
		address, ok := n.book.address(p)
		if !ok {
			return nil, fault.Errorf(fault.Network, "%s is not here: the registry has no address of it", p.Short())
		}
		return n.endpoint.DialControl(ctx, p, address)
	})
	n.cleanup = append(n.cleanup, n.client.Close)
	n.fetch = &fetcher{n.client, n.warn}
	return nil
}

// serve begins to answer the control plane: what every node shares, and routes.
func (n *node) serve(role control.Role, throttle *control.Budget, routes []control.Route) {
	share := &sharing{n.archive, &n.averages, n.shape.Chunks(), &n.news, func() control.Status {
		s := control.Status{Role: role, Peer: n.id.Peer, Fingerprint: n.fingerprint, RunID: n.runID(), Seats: n.book.get().Seats}
		if newest, ok := n.archive.newest(); ok {
			s.Epoch, s.Root = newest.Epoch, newest.root
		}
		return s
	}}
	s := control.NewServer(n.ctx, append(share.routes(), routes...), control.Options{Seats: n.book.seat, Throttle: throttle})
	n.workers.Go(func() {
		if err := s.Serve(n.endpoint.Control()); err != nil && err != http.ErrServerClosed && n.ctx.Err() == nil {
			n.warn("control plane: %v", err)
		}
	})
	n.cleanup = append(n.cleanup, func() { s.Close() })
	n.emit(Listening{Role: string(role), Peer: n.id.Peer, Address: n.address})
}

// machineConfig is what all machines of this node need.
func (n *node) machineConfig() reduce.Config {
	return reduce.Config{
		Fingerprint: n.fingerprint, RunID: n.runID(), Key: n.id.Key, Validators: n.trusted, Shape: n.shape,
		Epoch: n.state.Epoch, Root: n.digests.root,
	}
}

// goroutine runs f until the node closes; f must end with its context.
func (n *node) goroutine(f func(ctx context.Context)) {
	n.workers.Go(func() { f(n.ctx) })
}

// close ends everything that open, serve and drive began, and waits for it.
func (n *node) close() {
	n.cancel()
	for i := len(n.cleanup) - 1; i >= 0; i-- {
		n.cleanup[i]()
	}
	if n.speaker != nil {
		n.speaker.close()
	}
}

// emit passes an event on. It never waits for who listens.
func (n *node) emit(e Event) {
	if n.speaker != nil {
		n.speaker.say(e)
	}
}

func (n *node) warn(format string, args ...any) { n.emit(Warning{fmt.Sprintf(format, args...)}) }

// fail ends the node's work, wherever it waits: its context ends, and reason
// tells why.
func (n *node) fail(err error) {
	n.failure.CompareAndSwap(nil, &err)
	n.cancel()
}

// reason returns the error that a node's work ends with: nil for one that was
// asked to stop, and why it failed in place of the end of its context.
func (n *node) reason(err error) error {
	if why := n.failure.Load(); why != nil && err != nil {
		return *why
	}
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

// errStopped ends a node's work without an error to the caller.
var errStopped = errors.New("stopped")

// pause waits, unless the node is to stop.
func (n *node) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-n.Stop:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error { return hub.Sleep(ctx, d) }
