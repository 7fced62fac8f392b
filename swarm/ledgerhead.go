package swarm

import (
	"errors"
	"strconv"

	"lockstep/internal/fault"
	"lockstep/validate/ledger"
)

// Keys in the Extra of a validator's state file: where the ledger ended when the
// state was saved.
const (
	extraLedgerEntries = "ledger_entries"
	extraLedgerEpoch   = "ledger_epoch" // of the last entry
	extraLedgerHead    = "ledger_head"  // digest of the last line
)

// noteOf writes a ledger's head for a state file.
func noteOf(h ledger.Head) map[string]string {
	return map[string]string{
		extraLedgerEntries: strconv.FormatUint(h.Entries, 10),
		extraLedgerEpoch:   strconv.FormatUint(h.Epoch, 10),
		extraLedgerHead:    h.Digest.String(),
	}
}

// notedHead reads what noteOf wrote. Without any of it the head is zero.
func notedHead(extra map[string]string) (h ledger.Head, err error) {
	if extra[extraLedgerEntries] == "" {
		return h, nil
	}
	var errs [3]error
	h.Entries, errs[0] = strconv.ParseUint(extra[extraLedgerEntries], 10, 64)
	h.Epoch, errs[1] = strconv.ParseUint(extra[extraLedgerEpoch], 10, 64)
	errs[2] = h.Digest.UnmarshalText([]byte(extra[extraLedgerHead]))
	if err := errors.Join(errs[:]...); err != nil {
		return h, fault.Errorf(fault.Damaged, "the newest state does not say where the ledger ended: %w; remove it", err)
	}
	return h, nil
}

// compareLedger holds the ledger, as the dockets have completed it, against
// where it ended when the newest state was saved. One that had been cut back is
// told; one that says something else, or lacks what the dockets lack too, is
// refused.
func (v *validator) compareLedger() error {
	saw, err := notedHead(v.archive.noted)
	if err != nil || saw.Entries == 0 {
		return err
	}
	now, err := ledger.HeadAt(v.folder.Ledger(), saw.Entries)
	if err != nil {
		return err
	}
	if now != saw {
		return fault.Errorf(fault.Damaged, "%s is not the ledger that the newest state has seen, with %d entries up to epoch %d and the head %s: restore it and %s as they were",
			v.folder.Ledger(), saw.Entries, saw.Epoch, saw.Digest.Short(), v.folder.Dockets())
	}
	if found := v.chronicle.found; found.Entries < saw.Entries {
		v.warn("%s was cut back: it had %d entries up to epoch %d, and %d up to epoch %d were left; the rest was written again from %s, to the same head %s",
			v.folder.Ledger(), saw.Entries, saw.Epoch, found.Entries, found.Epoch, v.folder.Dockets(), saw.Digest.Short())
	}
	return nil
}
