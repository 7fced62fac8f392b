package swarm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"lockstep/internal/durable"
	"lockstep/internal/fault"
	"lockstep/internal/signed"
	"lockstep/swarm/control"
)

// records are the epochs that a validator certified, one file each. They are
// safe for concurrent use.
type records struct {
	dir  string
	peer signed.PeerID // whose records these are
	bell bell          // rung when one is added

	mu   sync.RWMutex
	last control.Record
	none bool // there is no record yet
	seal signed.Envelope
}

// openRecords reads the newest record in dir. Errors are fault.Damaged where a
// record is not what it should be.
func openRecords(dir string, peer signed.PeerID) (*records, error) {
	r := &records{dir: dir, peer: peer, none: true}
	epochs, err := recordedEpochs(dir)
	if err != nil || len(epochs) == 0 {
		return r, err
	}
	r.none = false
	r.last, r.seal, err = r.read(slices.Max(epochs))
	return r, err
}

// recordedEpochs lists the epochs that have a record in dir, in no order.
func recordedEpochs(dir string) (epochs []uint64, err error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("records: %w", err)
	}
	for _, n := range names {
		if epoch, err := strconv.ParseUint(strings.TrimSuffix(n.Name(), recordSuffix), 10, 64); err == nil {
			epochs = append(epochs, epoch)
		}
	}
	return epochs, nil
}

// LastEpoch returns the newest epoch that a validator certified in this folder;
// 0 where there is none yet.
func (f Folder) LastEpoch() (uint64, error) {
	epochs, err := recordedEpochs(f.Records())
	if err != nil || len(epochs) == 0 {
		return 0, err
	}
	return slices.Max(epochs), nil
}

const recordSuffix = ".cbor"

func (r *records) path(epoch uint64) string {
	return filepath.Join(r.dir, fmt.Sprintf("%012d%s", epoch, recordSuffix))
}

// read returns the record of an epoch.
func (r *records) read(epoch uint64) (control.Record, signed.Envelope, error) {
	f, err := os.Open(r.path(epoch))
	if err != nil {
		return control.Record{}, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return control.Record{}, nil, err
	}
	if info.Size() > signed.MaxDocument {
		return control.Record{}, nil, fault.Errorf(fault.Damaged, "record %s: %d bytes", f.Name(), info.Size())
	}
	e := make(signed.Envelope, info.Size())
	if _, err := f.ReadAt(e, 0); err != nil {
		return control.Record{}, nil, err
	}
	record, err := control.Open[control.Record](e, r.peer)
	if err == nil && record.Epoch != epoch {
		err = fault.Errorf(fault.Damaged, "it is of epoch %d", record.Epoch)
	}
	if err != nil {
		return control.Record{}, nil, fmt.Errorf("record %s: %w", f.Name(), err)
	}
	return record, e, nil
}

// write makes the record of the next epoch durable.
func (r *records) write(record control.Record, e signed.Envelope) error {
	if err := durable.Replace(r.path(record.Epoch), 0o644, e); err != nil {
		return fmt.Errorf("record of epoch %d: %w", record.Epoch, err)
	}
	return nil
}

// show makes a durable record the newest one that others see.
func (r *records) show(record control.Record, e signed.Envelope) {
	r.mu.Lock()
	r.last, r.seal, r.none = record, e, false
	r.mu.Unlock()
	r.bell.ring()
}

// newest returns the newest record; false where there is none.
func (r *records) newest() (control.Record, signed.Envelope, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.last, r.seal, !r.none
}

// find returns the record of an epoch; false where there is none (yet).
func (r *records) find(epoch uint64) (control.Record, signed.Envelope, bool) {
	last, seal, ok := r.newest()
	if !ok || epoch > last.Epoch {
		return control.Record{}, nil, false
	}
	if epoch == last.Epoch {
		return last, seal, true
	}
	record, e, err := r.read(epoch)
	return record, e, err == nil
}
