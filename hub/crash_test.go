package hub

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lockstep/internal/fault"
)

// survey verifies a whole repository and says in one line what it holds: each
// tag and main, with its files and their contents.
func survey(root string) (string, error) {
	d, err := OpenDirectory(root)
	if errors.Is(err, fs.ErrNotExist) {
		return "none", nil
	}
	if err != nil {
		return "", err
	}
	tags, err := d.Tags(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	revisions := []string{"main"}
	for _, t := range tags {
		revisions = append(revisions, t.Name)
	}
	for _, revision := range revisions {
		files, err := d.List(ctx, revision)
		if revision == "main" && isNotFound(err) {
			b.WriteString("empty")
			continue
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s:", revision)
		for _, f := range files {
			s, err := read(d, revision, f.Path)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, " %s=%s", f.Path, s)
		}
		b.WriteString("; ")
	}
	return b.String(), nil
}

// epochs are what the crash tests push; one file is the same in both.
var epochs = [][]Content{
	{text("config.json", "{}"), text("model.safetensors", "weights one")},
	{text("config.json", "{}"), text("model.safetensors", "weights two"), text("README.md", "")},
}

var surveys = []string{
	"main: config.json={} model.safetensors=weights one; 1: config.json={} model.safetensors=weights one; ",
	"main: README.md= config.json={} model.safetensors=weights two; 1: config.json={} model.safetensors=weights one; 2: README.md= config.json={} model.safetensors=weights two; ",
}

const untagged = "main: README.md= config.json={} model.safetensors=weights two; 1: config.json={} model.safetensors=weights one; "

var once = Backoff{Attempts: 1, Sleep: Sleep}

func pushEpochs(d *Directory, from, to int) error {
	for i := from; i <= to; i++ {
		if _, err := PushEpoch(ctx, d, uint64(i), epochs[i-1], fmt.Sprintf("epoch %d", i), once); err != nil {
			return err
		}
	}
	return nil
}

// pushWork makes a repository with epoch 1, pushes epoch 2 on the faulty disk,
// and checks what is left; then that a second push mends everything.
func pushWork(t *testing.T, base string) func(string, *faultyDisk) func(uint64) error {
	return func(name string, disk *faultyDisk) func(uint64) error {
		root := filepath.Join(base, name)
		good, err := createDirectory(ctx, root, laxDisk{})
		if err == nil {
			err = pushEpochs(good, 1, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		pushErr := pushEpochs(&Directory{root: root, disk: disk}, 2, 2)
		return func(uint64) error {
			defer os.RemoveAll(root)
			got, err := survey(root)
			if err != nil {
				return err
			}
			if !slices.Contains([]string{surveys[0], untagged, surveys[1]}, got) || pushErr == nil && got != surveys[1] {
				return fmt.Errorf("the push said %v and left %s", pushErr, got)
			}
			if disk.fail == full && pushErr != nil {
				var space *SpaceError
				if !errors.As(pushErr, &space) || fault.KindOf(pushErr) != fault.Environment || !errors.Is(pushErr, syscall.ENOSPC) {
					return fmt.Errorf("a full disk was reported as %v", pushErr)
				}
			}
			if err := pushEpochs(good, 2, 2); err != nil {
				return fmt.Errorf("after %v, pushing again: %w", pushErr, err)
			}
			if got, err := survey(root); err != nil || got != surveys[1] {
				return fmt.Errorf("after pushing again: %s, %v", got, err)
			}
			return unfinishedIn(filepath.Join(root, unfinishedDir))
		}
	}
}

func unfinishedIn(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			return fmt.Errorf("%s was left behind", e.Name())
		}
	}
	return err
}

func TestPushOnAFullDisk(t *testing.T) {
	if err := everyStep(full, nil, pushWork(t, t.TempDir())); err != nil {
		t.Error(err)
	}
}

func TestPushThroughPowerLoss(t *testing.T) {
	if err := everyStep(crash, nil, pushWork(t, t.TempDir())); err != nil {
		t.Error(err)
	}
}

// TestPowerLossFindsForgottenSyncs is the test of the two above: a disk that
// only pretends to sync must be caught.
func TestPowerLossFindsForgottenSyncs(t *testing.T) {
	for name, mutate := range map[string]func(*faultyDisk){
		"fsync":            func(d *faultyDisk) { d.forgetSync = true },
		"fsync of folders": func(d *faultyDisk) { d.forgetSyncDir = true },
	} {
		if err := everyStep(crash, mutate, pushWork(t, t.TempDir())); err == nil {
			t.Errorf("without %s nothing was found", name)
		} else {
			t.Logf("without %s: %v", name, err)
		}
	}
}

func TestCreateThroughFailures(t *testing.T) {
	base := t.TempDir()
	work := func(name string, disk *faultyDisk) func(uint64) error {
		root := filepath.Join(base, name, "hub", "model")
		_, createErr := createDirectory(ctx, root, disk)
		return func(uint64) error {
			got, err := survey(root)
			if err != nil || got != "none" && got != "empty" || createErr == nil && got != "empty" {
				return fmt.Errorf("creation said %v and left %s, %v", createErr, got, err)
			}
			again, err := createDirectory(ctx, root, laxDisk{})
			if err == nil {
				err = pushEpochs(again, 1, 1)
			}
			if err != nil {
				return fmt.Errorf("after %v: %w", createErr, err)
			}
			return unfinishedIn(filepath.Join(root, unfinishedDir))
		}
	}
	for _, fail := range []failure{full, crash} {
		if err := everyStep(fail, nil, work); err != nil {
			t.Error(err)
		}
		base = t.TempDir()
	}
}

func TestCommitAsksForSpaceFirst(t *testing.T) {
	d := newDirectory(t)
	d.disk = smallDisk{free: 10}
	_, err := d.Commit(ctx, CommitRequest{Add: []Content{{Path: "model.safetensors", Size: 353_000_000, Write: func(io.Writer) error {
		t.Error("writing began")
		return nil
	}}}})
	var space *SpaceError
	if !errors.As(err, &space) || space.Need != 353_000_000 || space.Free != 10 || fault.KindOf(err) != fault.Environment {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"353000000 bytes are needed", "10 are free", "make room"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if free, known := FreeSpace(d.root); known && (free == 0 || RequireSpace(d.root, 1) != nil || RequireSpace(d.root, 1<<62) == nil) {
		t.Errorf("%d bytes free here", free)
	}
	if _, known := FreeSpace(filepath.Join(d.root, "missing")); known {
		t.Error("free space of a folder that is not there")
	}
}

type smallDisk struct {
	osDisk
	free uint64
}

func (d smallDisk) Free(string) (uint64, bool) { return d.free, true }

// pusherRole tells this test binary to be a pusher: "EPOCHS COPIES FOLDER".
const pusherRole = "LOCKSTEP_TEST_PUSHER"

func TestMain(m *testing.M) {
	if role := os.Getenv(pusherRole); role != "" {
		if err := bePusher(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// bePusher pushes numbered epochs, saying each on stdout.
func bePusher(role string) error {
	var last int
	var root string
	if _, err := fmt.Sscanf(role, "%d %s", &last, &root); err != nil {
		return err
	}
	d, err := createDirectory(ctx, root, laxDisk{})
	if err != nil {
		return err
	}
	backoff := Backoff{Attempts: 1000, First: time.Millisecond, Longest: 5 * time.Millisecond, Sleep: Sleep}
	for epoch := 1; epoch <= last; epoch++ {
		if _, err := PushEpoch(ctx, d, uint64(epoch), numbered(epoch), "", backoff); err != nil {
			return err
		}
		fmt.Println(epoch)
	}
	return nil
}

func numbered(epoch int) []Content {
	return []Content{text("config.json", "{}"), text("model.safetensors", strings.Repeat(fmt.Sprint(epoch, " "), 5000))}
}

func startPusher(ctx context.Context, root string, last int) (*exec.Cmd, io.Reader, error) {
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", pusherRole, last, root))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	return cmd, out, err
}

// TestKilledPushersLoseNothing kills pushers at random moments. Every epoch that
// one reported is there, whole; the next pusher goes on.
func TestKilledPushersLoseNothing(t *testing.T) {
	root := filepath.Join(t.TempDir(), "model")
	r := rand.New(rand.NewPCG(7, 7))
	reported := 0
	for kill := range 12 {
		cmd, out, err := startPusher(ctx, root, 1000)
		if err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(20+r.IntN(120))*time.Millisecond, func() { cmd.Process.Kill() })
		for s := bufio.NewScanner(out); s.Scan(); {
			var epoch int
			if _, err := fmt.Sscan(s.Text(), &epoch); err == nil {
				reported = max(reported, epoch)
			}
		}
		cmd.Wait()
		timer.Stop()
		if _, err := survey(root); err != nil {
			t.Fatalf("after kill %d: %v", kill, err)
		}
	}
	d, err := OpenDirectory(root)
	if err != nil {
		t.Fatal(err)
	}
	newest, _, _, err := newestEpoch(ctx, d)
	if err != nil || int(newest) < reported || reported == 0 {
		t.Fatalf("epoch %d was reported, %d is the newest, %v", reported, newest, err)
	}
	checkNumbered(t, d, int(newest))
	if err := pushOne(d, int(newest)+1); err != nil {
		t.Fatal(err)
	}
	if err := unfinishedIn(d.path(unfinishedDir)); err != nil {
		t.Error(err)
	}
}

func pushOne(d *Directory, epoch int) error {
	_, err := PushEpoch(ctx, d, uint64(epoch), numbered(epoch), "", once)
	return err
}

// checkNumbered checks that exactly epochs 1 to last are there.
func checkNumbered(t *testing.T, d *Directory, last int) {
	t.Helper()
	tags, err := d.Tags(ctx)
	if err != nil || len(tags) != last {
		t.Fatalf("%d tags, want %d; %v", len(tags), last, err)
	}
	for i, tag := range tags {
		got, err := read(d, tag.Name, "model.safetensors")
		if err != nil || tag.Name != fmt.Sprint(i+1) || got != strings.Repeat(fmt.Sprint(i+1, " "), 5000) {
			t.Fatalf("tag %s: %v", tag.Name, err)
		}
	}
}

// TestProcessesPushAtOnce lets several processes create one repository and push
// the same epochs into it.
func TestProcessesPushAtOnce(t *testing.T) {
	root := filepath.Join(t.TempDir(), "model")
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	const processes, last = 4, 6
	var running []*exec.Cmd
	for range processes {
		cmd, out, err := startPusher(limit, root, last)
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, out)
		running = append(running, cmd)
	}
	for i, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v", i, err)
		}
	}
	d, err := OpenDirectory(root)
	if err != nil {
		t.Fatal(err)
	}
	checkNumbered(t, d, last)
}
