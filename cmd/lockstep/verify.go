package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"lockstep/config"
	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/spec"
	"lockstep/model"
	"lockstep/observe"
	"lockstep/stream"
	"lockstep/validate"
	"lockstep/validate/ledger"
)

// verification is one line of `lockstep verify --json`.
type verification struct {
	Evidence string           `json:"evidence"`
	Result   string           `json:"result"` // "verified", or the fault's name
	Error    string           `json:"error,omitempty"`
	Report   *validate.Report `json:"report,omitempty"`
	Ledger   *ledger.Report   `json:"ledger,omitempty"` // of a ledger's folder
}

func (a *app) verify() *cobra.Command {
	var data, repo, init string
	cmd := &cobra.Command{
		Use:     "verify EVIDENCE...",
		Short:   "Decide again about a miner's claim, from the evidence",
		GroupID: "check",
		Args:    cobra.MinimumNArgs(1),
		Long: `Recompute what a miner claimed, from an evidence folder, the text, and the model
of the epoch before (from the run's seed, or from the repository's tag). Exit code
0: the claim is true and the verdict says so. 10: miner or validator signed what
is not so. 11: the evidence is incomplete or badly signed.

The folder of a validator's ledger is checked as a whole: links, signatures, and
that commitments, scores and weights follow from what stands before them.`,
		Example: `  lockstep verify run/evidence/1-0
  lockstep verify run/evidence/3-* --data ./fineweb
  lockstep verify run/ledger
  lockstep verify 3-1 --data ./fineweb --hub run/hub/tiny --json`,
	}
	config.AddFlags(cmd.Flags(), append(fetchFlags, "json", "threads", "micro-batch")...)
	cmd.Flags().StringVar(&data, "data", "", "the text the run trains on (default: as the run folder's lockstep.yaml says, else builtin)")
	cmd.Flags().StringVar(&repo, "hub", "", "repository with the epochs' tags (default: the run folder's)")
	cmd.Flags().StringVar(&init, "init", "", "weights the run started from, if it did not start from its seed: DIR, DIR@TAG, or OWNER/NAME[@REVISION] of the Hub")
	var folders []string
	body := a.runs(func(ctx context.Context, c config.Config, t *observe.Terminal) error {
		ints := catch(ctx, t)
		defer ints.release()
		ints.stopAtOnce()
		var worst error
		failed := 0
		for _, folder := range folders {
			err := a.verifyOne(ints.Context, c, t, folder, data, repo, init)
			if err != nil && len(folders) > 1 {
				failed++
				t.Line("%v", err)
			}
			if worst == nil || fault.KindOf(err) == fault.False {
				worst = err
			}
		}
		if failed > 0 {
			worst = fault.Errorf(fault.KindOf(worst), "%d of %d did not verify", failed, len(folders))
		}
		return ints.outcome(worst, "nothing was changed")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		folders = args
		return body(cmd, args)
	}
	return cmd
}

func (a *app) verifyOne(ctx context.Context, c config.Config, t *observe.Terminal, folder, data, repo, init string) error {
	if isLedger(folder) {
		return a.verifyLedger(c, folder)
	}
	report, err := decideAgain(ctx, c, t, folder, data, repo, init)
	t.Status("")
	if c.Output.JSON {
		v := verification{Evidence: folder, Result: "verified", Report: report}
		if err != nil {
			v.Result, v.Error = fault.KindOf(err).String(), err.Error()
		}
		return errors.Join(err, a.printJSON(v))
	}
	if report != nil {
		a.printVerification(folder, report, err)
	}
	return err
}

func (a *app) printVerification(folder string, r *validate.Report, err error) {
	fmt.Fprintf(a.stdout, "%s: epoch %d, miner %d (%s)\n", folder, r.Epoch, r.UID, r.Miner.Short())
	rows := make([][]string, len(r.Lines))
	for i, l := range r.Lines {
		mark := l.Mark.String()
		if l.Mark == validate.Unchecked {
			mark = "said" // by somebody, or not reached
		}
		rows[i] = []string{"  " + l.Step, mark, l.Text}
	}
	for _, line := range observe.Table(rows) {
		fmt.Fprintln(a.stdout, line)
	}
	switch fault.KindOf(err) {
	case fault.None:
		fmt.Fprintln(a.stdout, "VERIFIED")
	case fault.False:
		fmt.Fprintln(a.stdout, "FALSE")
	default:
		fmt.Fprintln(a.stdout, "UNDECIDED")
	}
}

// decideAgain reads one evidence folder and verifies it. Text, repository and
// initial weights default to what lies beside the evidence in the run folder.
func decideAgain(ctx context.Context, c config.Config, t *observe.Terminal, folder, data, repo, init string) (*validate.Report, error) {
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil, fault.Errorf(fault.Undecided, "%s: there is no such folder of evidence", folder)
	}
	e, err := validate.ReadEvidence(folder)
	if err != nil {
		return nil, err
	}
	beside := runFolder(folder)
	if data == "" {
		data = beside.Protocol.Data
	}
	if init == "" {
		init = beside.Protocol.Init
	}
	if _, builtin := model.Builtin(beside.Protocol.Model); init == "" && !builtin {
		init = beside.Protocol.Model
	}
	if repo == "" {
		repo = repositoryName(beside)
	}
	v := validate.Verifier{
		MicroBatch: c.Node.MicroBatch,
		Progress:   func(done, total int) { t.Status("%s: sequence %d of %d", folder, done, total) },
		Source: func(ctx context.Context, _ *spec.Run) (stream.Source, error) {
			text := c
			text.Protocol.Data = data
			return openText(ctx, &text, t)
		},
		Parameters: func(ctx context.Context, run *spec.Run, epoch uint64) (*model.Parameters, error) {
			return parametersAfter(ctx, run, epoch, repo, init)
		},
	}
	report, err := v.Verify(ctx, e)
	if err != nil {
		err = fmt.Errorf("%s: %w", folder, err)
	}
	return report, err
}

// runFolder returns the settings that a run folder holds: evidence lies in
// RUN/evidence/EPOCH-UID. Without them, the defaults.
func runFolder(evidence string) config.Config {
	dir := filepath.Dir(filepath.Dir(filepath.Clean(evidence)))
	c, err := config.Load(nil, nil, filepath.Join(dir, settingsFile))
	if err != nil {
		c = config.Default()
	}
	c.Output.Dir = dir
	if c.Hub.Repo == "" {
		c.Hub.Repo = modelName(&c)
	}
	return c
}

// parametersAfter returns the parameters after an epoch: the run's start, or a
// tag of the repository.
func parametersAfter(ctx context.Context, run *spec.Run, epoch uint64, repo, init string) (*model.Parameters, error) {
	if epoch == 0 && run.Init.Kind == "seed" {
		return validate.SeedParameters(run)
	}
	name := init
	if epoch > 0 {
		name = repo + "@" + hub.EpochTag(epoch)
		ref, err := hub.ParseModel(name)
		where := repo
		if err == nil {
			where = ref.Name // of a short form, written out
		}
		if _, serr := os.Stat(where); errors.Is(serr, os.ErrNotExist) && (err != nil || ref.Kind != hub.OnHub) {
			return nil, fault.Errorf(fault.Undecided, "the model after epoch %d is needed, and there is no repository %s; name one with --hub", epoch, repo)
		}
	}
	if name == "" {
		return nil, fault.Errorf(fault.Undecided, "the run started from %s; name it with --init", cmp.Or(run.Init.BaseModel, "given weights"))
	}
	m, err := loadModel(ctx, name, run.Assignment.Seed)
	if err != nil {
		return nil, err
	}
	return m.weights, nil
}
