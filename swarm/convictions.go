package swarm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"lockstep/internal/durable"
	"lockstep/reduce"
	"lockstep/reduce/commit"
	"lockstep/validate"
)

// convictions keep the evidence of averaging rounds from the moment that a
// decision is about to rest on it until its epoch is settled: on disk before the
// decision is known to anybody, so that a crash at no point leaves somebody
// excluded without proof, or scored in spite of it.
type convictions string // folder

const convictionSuffix = ".bin"

// keep makes evidence durable.
func (c convictions) keep(r reduce.Convicted) error {
	for _, e := range r.Evidence {
		path := filepath.Join(string(c), fmt.Sprintf("%012d-%s%s", r.Epoch, e.Digest(), convictionSuffix))
		if err := durable.Replace(path, 0o644, e.Encode()); err != nil {
			return fmt.Errorf("evidence of epoch %d: %w", r.Epoch, err)
		}
	}
	return nil
}

// files lists what is kept of an epoch, in the order of names.
func (c convictions) files(epoch uint64) ([]string, error) {
	return filepath.Glob(filepath.Join(string(c), fmt.Sprintf("%012d-*%s", epoch, convictionSuffix)))
}

// of returns the evidence that is kept of an epoch.
func (c convictions) of(epoch uint64) ([]commit.Evidence, error) {
	paths, err := c.files(epoch)
	if err != nil {
		return nil, err
	}
	var out []commit.Evidence
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		e, err := commit.ParseEvidence(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, e)
	}
	return out, nil
}

// settled forgets what is kept of an epoch: it is in the evidence folders and in
// the ledger now.
func (c convictions) settled(epoch uint64) error {
	paths, err := c.files(epoch)
	for _, path := range paths {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// convict turns evidence of an epoch's averaging round into a verdict. It may be
// told again.
func (v *validator) convict(epoch uint64, e commit.Evidence) error {
	f, err := commit.Judge(e)
	if err != nil {
		v.warn("evidence of the round that convicts nobody: %v", err)
		return nil
	}
	j, err := v.judgement(epoch, f.UID)
	if err != nil {
		return err
	}
	if j == nil || j.Verdict.Miner != f.Accused {
		v.warn("epoch %d: uid %d is convicted of %s, but has no claim here", epoch, f.UID, f.Kind)
		return nil
	}
	if j.Verdict.Outcome.False() { // known, unless a crash kept it from the docket
		return v.chronicle.judged(j, validate.Folder(v.cfg.EvidenceDir, epoch, f.UID))
	}
	j.Convict(f)
	return v.find(j, &e)
}

// convictAgain repeats convictions of before a restart, and keeps the convicted
// out of what is still to be averaged.
func (v *validator) convictAgain(epoch uint64) error {
	kept, err := v.convictions.of(epoch)
	if err != nil {
		return err
	}
	for _, e := range kept {
		if err := v.convict(epoch, e); err != nil {
			return err
		}
		if f, err := commit.Judge(e); err == nil {
			v.driver.Post(reduce.Expel{Epoch: epoch, UID: f.UID})
		}
	}
	return nil
}

// judgement returns what was found about a seat's claim in an epoch, if need be
// from the evidence of before a restart; nil where nothing was.
func (v *validator) judgement(epoch uint64, uid uint32) (*validate.Judgement, error) {
	if j := v.judged[uid]; j != nil && j.Verdict.Epoch == epoch {
		return j, nil
	}
	d, err := v.chronicle.at(epoch)
	if err != nil {
		return nil, err
	}
	f, ok := d.of(uid)
	if !ok {
		return nil, nil
	}
	e, err := validate.ReadEvidence(f.Folder)
	if err != nil {
		return nil, err
	}
	return e.Judgement()
}
