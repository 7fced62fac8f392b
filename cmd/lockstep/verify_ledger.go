package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"lockstep/config"
	"lockstep/internal/fault"
	"lockstep/validate"
)

// isLedger reports whether a folder holds a ledger rather than evidence.
func isLedger(folder string) bool {
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	return err == nil && len(files) > 0
}

// verifyLedger checks a validator's whole ledger: every link, every signature,
// and that commitments, scores and weights follow from what stands before them.
func (a *app) verifyLedger(c config.Config, folder string) error {
	report, err := validate.CheckLedger(folder)
	if err == nil && report.Torn != nil {
		err = fault.Errorf(fault.Damaged, "%s: the last %d bytes of %s are torn off; the validator cuts them away at its next start", folder, report.Torn.Bytes, report.Torn.File)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", folder, err)
	}
	if c.Output.JSON {
		v := verification{Evidence: folder, Result: "verified", Ledger: &report}
		if err != nil {
			v.Result, v.Error = fault.KindOf(err).String(), err.Error()
		}
		return errors.Join(err, a.printJSON(v))
	}
	if err == nil {
		fmt.Fprintf(a.stdout, "%s: %d entries up to epoch %d, every link and signature checked\nVERIFIED\n", folder, report.Entries, report.Epoch)
	}
	return err
}
