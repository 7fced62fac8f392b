package swarm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
	"lockstep/reduce/transport"
	"lockstep/swarm/control"
)

// maxRunID caps the file of the run id.
const maxRunID = 256

// loadRunID reads the run that the folder belongs to: zero where it belongs to
// none yet. A folder in which work was done always says for which run.
func (f Folder) loadRunID() (id spec.RunID, err error) {
	b, err := os.ReadFile(f.RunID())
	if errors.Is(err, fs.ErrNotExist) {
		if what := f.work(); what != "" {
			return id, fault.Errorf(fault.Damaged, "%s holds %s, but %s, which says of which run, is missing: restore it from a copy, or use another folder", f, what, f.RunID())
		}
		return id, nil
	}
	if err != nil {
		return id, fmt.Errorf("run id: %w", err)
	}
	if err := id.UnmarshalText([]byte(strings.TrimSuffix(string(b[:min(len(b), maxRunID)]), "\n"))); err != nil || id.IsZero() {
		return id, fault.Errorf(fault.Damaged, "%s is not a run id; restore it from a copy, or use another folder", f.RunID())
	}
	return id, nil
}

func (f Folder) saveRunID(id spec.RunID) error {
	if err := durable.Replace(f.RunID(), 0o644, []byte(id.String()+"\n")); err != nil {
		return fmt.Errorf("run id %s: %w", f.RunID(), err)
	}
	return nil
}

// work names what the folder holds of a run that has begun; "" if nothing.
func (f Folder) work() string {
	for _, w := range []struct{ what, folder string }{
		{"records", f.Records()}, {"saved states", f.States()}, {"a ledger", f.Ledger()}, {"dockets", f.Dockets()},
	} {
		if entries, err := os.ReadDir(w.folder); err == nil && len(entries) > 0 {
			return w.what
		}
	}
	return ""
}

// runID returns the run that this node takes part in: zero at a miner that has
// not joined one.
func (n *node) runID() spec.RunID {
	if id := n.instance.Load(); id != nil {
		return *id
	}
	return spec.RunID{}
}

// ours reports whether a document that names its run belongs to this node's.
func (n *node) ours(fingerprint merkle.Digest, id spec.RunID) bool {
	return fingerprint == n.fingerprint && id == n.runID()
}

// enterRun makes a run the node's, durably, before anything is signed in it.
func (n *node) enterRun(id spec.RunID) error {
	if err := n.folder.saveRunID(id); err != nil {
		return err
	}
	n.instance.Store(&id)
	n.digests.RunID = id
	return nil
}

// beginRun begins a new run in an empty folder of a validator, and refuses to
// lead one from a folder whose leader journal is gone: what that journal held
// has been sent, and this validator could sign the contrary. The journal is
// made before all else, so that it is missing only where somebody removed it.
func (n *node) beginRun() error {
	path := n.folder.Journal(leaderName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		what := n.folder.work()
		if what == "" && !n.runID().IsZero() {
			what = "a run id"
		}
		if what != "" {
			return fault.Errorf(fault.Damaged, "%s holds %s, but the leader journal %s is missing: without it this validator could decide an epoch twice; restore it from a copy, or begin a new run in another folder", n.folder, what, path)
		}
		journal, _, err := transport.OpenJournal(path)
		if err != nil {
			return err
		}
		if err := journal.Close(); err != nil {
			return err
		}
	} else if err != nil {
		return fmt.Errorf("leader journal: %w", err)
	}
	if !n.runID().IsZero() {
		return nil
	}
	var id spec.RunID
	rand.Read(id[:]) // it never fails
	return n.enterRun(id)
}

// recognise takes a registry of the validator for that of this miner's run. The
// first one says which run that is.
func (m *miner) recognise(r control.Registry) error {
	switch have := m.runID(); {
	case r.Fingerprint != m.fingerprint:
		return fault.Errorf(fault.Damaged, "a registry of run spec %s", r.Fingerprint.Short())
	case have.IsZero():
		return m.enterRun(r.RunID)
	case r.RunID != have:
		return m.otherRun(fmt.Errorf("the validator leads run %s", r.RunID.Short()))
	}
	return nil
}

// otherRun says that this miner's folder belongs to another run of the same
// spec than the one that its validator leads, which usually was begun anew.
func (m *miner) otherRun(why error) error {
	return fault.Errorf(fault.Fingerprint, "%w; %s belongs to run %s of the same spec, and stands at epoch %d: join with another folder, or go on from the validator's folder of that run (nothing here was changed)",
		why, m.folder, m.runID().Short(), m.base)
}
