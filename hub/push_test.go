package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"lockstep/internal/fault"
)

// patient retries without waiting and notes what it would have waited.
func patient(attempts int, waits *[]time.Duration) Backoff {
	return Backoff{Attempts: attempts, First: time.Second, Longest: 5 * time.Second, Sleep: func(ctx context.Context, d time.Duration) error {
		if waits != nil {
			*waits = append(*waits, d)
		}
		return ctx.Err()
	}}
}

// shaky is a repository behind a bad line: each call may fail before it takes
// effect, or after it, so that only the answer is lost.
type shaky struct {
	Repository
	before, after map[string][]error // by method; used up from the front
	calls         []string
}

func (s *shaky) take(from map[string][]error, method string) error {
	list := from[method]
	if len(list) == 0 {
		return nil
	}
	from[method] = list[1:]
	return list[0]
}

func (s *shaky) Commit(ctx context.Context, r CommitRequest) (Commit, error) {
	s.calls = append(s.calls, "commit")
	if err := s.take(s.before, "commit"); err != nil {
		return Commit{}, err
	}
	c, err := s.Repository.Commit(ctx, r)
	if lost := s.take(s.after, "commit"); lost != nil {
		return Commit{}, lost
	}
	return c, err
}

func (s *shaky) Tag(ctx context.Context, name, commit string) error {
	s.calls = append(s.calls, "tag")
	if err := s.take(s.before, "tag"); err != nil {
		return err
	}
	err := s.Repository.Tag(ctx, name, commit)
	if lost := s.take(s.after, "tag"); lost != nil {
		return lost
	}
	return err
}

func (s *shaky) Tags(ctx context.Context) ([]Tag, error) {
	s.calls = append(s.calls, "tags")
	if err := s.take(s.before, "tags"); err != nil {
		return nil, err
	}
	return s.Repository.Tags(ctx)
}

var outage = fault.Errorf(fault.Network, "connection reset")

func TestPushEpochIsIdempotent(t *testing.T) {
	d := newDirectory(t)
	first, err := PushEpoch(ctx, d, 1, epochs[0], "epoch 1", once)
	if err != nil || first.Existed || first.Attempts != 1 || first.Tag != "1" {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := PushEpoch(ctx, d, 1, epochs[0], "another message", once)
	if err != nil || !again.Existed || again.Commit != first.Commit {
		t.Errorf("again: %+v, %v", again, err)
	}
	// Somebody adds a licence; a later push of the same epoch is still success,
	// and the next epoch keeps it.
	commit(t, d, first.Commit.ID, "licence", text("LICENSE", "MIT"))
	if again, err = PushEpoch(ctx, d, 1, epochs[0], "", once); err != nil || !again.Existed {
		t.Errorf("after the licence: %+v, %v", again, err)
	}
	if _, err := PushEpoch(ctx, d, 2, epochs[1], "epoch 2", once); err != nil {
		t.Fatal(err)
	}
	if got, err := read(d, "2", "LICENSE"); err != nil || got != "MIT" {
		t.Errorf("the licence: %q, %v", got, err)
	}
	if again, err = PushEpoch(ctx, d, 2, epochs[1], "", once); err != nil || !again.Existed {
		t.Errorf("an epoch whose commit has more files: %+v, %v", again, err)
	}
}

func TestPushEpochRefusesOtherContent(t *testing.T) {
	d := newDirectory(t)
	if _, err := PushEpoch(ctx, d, 1, epochs[0], "", once); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files []Content
		path  string
	}{
		"another model": {[]Content{epochs[0][0], text("model.safetensors", "weights ONE")}, "model.safetensors"},
		"one file more": {append(epochs[0][:2:2], text("README.md", "")), "README.md"},
		"another size":  {[]Content{text("config.json", "{ }"), epochs[0][1]}, "config.json"},
	} {
		before, _ := survey(d.root)
		_, err := PushEpoch(ctx, d, 1, c.files, "", patient(5, nil))
		var conflict *TagConflictError
		var push *PushError
		if !errors.As(err, &conflict) || conflict.Path != c.path || !errors.As(err, &push) || push.Attempts != 1 || fault.KindOf(err) != fault.Refused {
			t.Errorf("%s: %v", name, err)
		}
		if _, found, err := FindEpoch(ctx, d, 1, c.files); found || !errors.As(err, &conflict) {
			t.Errorf("%s: found %v, %v", name, found, err)
		}
		if after, _ := survey(d.root); after != before {
			t.Errorf("%s: the repository changed", name)
		}
	}
	for epoch, want := range map[uint64]bool{1: true, 2: false} {
		if p, found, err := FindEpoch(ctx, d, epoch, epochs[0]); found != want || err != nil || p.Existed != want {
			t.Errorf("epoch %d: %+v, found %v, %v", epoch, p, found, err)
		}
	}
}

func TestPushEpochSurvivesABadLine(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after map[string][]error
		attempts      int
		existed       bool
	}{
		{"nothing goes through twice", map[string][]error{"tags": {outage, outage}}, nil, 3, false},
		{"commit fails", map[string][]error{"commit": {outage}}, nil, 2, false},
		{"answer to commit lost", nil, map[string][]error{"commit": {outage}}, 2, false},
		{"tag fails", map[string][]error{"tag": {outage}}, nil, 2, false},
		{"answer to tag lost", nil, map[string][]error{"tag": {outage}}, 2, true},
		{"everything once", map[string][]error{"tags": {outage}, "commit": {outage}, "tag": {outage}}, map[string][]error{"commit": {outage}}, 5, false},
		{"head moved", map[string][]error{"commit": {&HeadMovedError{}}}, nil, 2, false},
		{"an error of no kind", map[string][]error{"commit": {io.ErrUnexpectedEOF}}, nil, 2, false},
	} {
		d := newDirectory(t)
		if _, err := PushEpoch(ctx, d, 1, epochs[0], "", once); err != nil {
			t.Fatal(err)
		}
		s := &shaky{Repository: d, before: c.before, after: c.after}
		pushed, err := PushEpoch(ctx, s, 2, epochs[1], "epoch 2", patient(6, nil))
		if err != nil || pushed.Attempts != c.attempts || pushed.Existed != c.existed {
			t.Errorf("%s: %+v, %v", c.name, pushed, err)
		}
		if got, err := survey(d.root); err != nil || got != surveys[1] {
			t.Errorf("%s: %s, %v", c.name, got, err)
		}
		if history, _ := d.Resolve(ctx, "2"); history.Parent == "" || history != pushed.Commit {
			t.Errorf("%s: the commit is %+v", c.name, history)
		}
	}
}

func TestPushEpochGivesUp(t *testing.T) {
	var waits []time.Duration
	s := &shaky{Repository: newDirectory(t), before: map[string][]error{"commit": {outage, outage, outage, outage, outage, outage}}}
	_, err := PushEpoch(ctx, s, 3, epochs[0], "", patient(6, &waits))
	var push *PushError
	if !errors.As(err, &push) || push.Epoch != 3 || push.Attempts != 6 || !errors.Is(err, outage) || fault.KindOf(err) != fault.Network {
		t.Errorf("got %v", err)
	}
	if got := fmt.Sprint(waits); got != "[1s 2s 4s 5s 5s]" {
		t.Errorf("waited %s", got)
	}
	// The next miner takes over.
	if pushed, err := PushEpoch(ctx, s, 3, epochs[0], "", once); err != nil || pushed.Existed {
		t.Errorf("the next one: %+v, %v", pushed, err)
	}
}

func TestPushEpochDoesNotInsist(t *testing.T) {
	for name, permanent := range map[string]error{
		"refused":   fault.Errorf(fault.Refused, "403"),
		"full disk": &SpaceError{Path: "x"},
		"damage":    fault.Errorf(fault.Damaged, "blob"),
		"config":    fault.Errorf(fault.Config, "no such repository"),
	} {
		s := &shaky{Repository: newDirectory(t), before: map[string][]error{"commit": {permanent}}}
		var waits []time.Duration
		_, err := PushEpoch(ctx, s, 1, epochs[0], "", patient(9, &waits))
		var push *PushError
		if !errors.As(err, &push) || push.Attempts != 1 || !errors.Is(err, permanent) || fault.KindOf(err) != fault.KindOf(permanent) || len(waits) != 0 {
			t.Errorf("%s: %v after waits %v", name, err, waits)
		}
	}
	dead, cancel := context.WithCancel(ctx)
	s := &shaky{Repository: newDirectory(t), before: map[string][]error{"commit": {outage}}}
	giveUp := patient(9, nil)
	giveUp.Sleep = func(ctx context.Context, d time.Duration) error { cancel(); return Sleep(ctx, d) }
	if _, err := PushEpoch(dead, s, 1, epochs[0], "", giveUp); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while waiting: %v", err)
	}
	broken := Content{Path: "a", Size: 1, Write: func(io.Writer) error { return fs.ErrClosed }}
	if _, err := PushEpoch(ctx, s, 1, []Content{broken}, "", once); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a source that fails: %v", err)
	}
}

func TestBackoffIsChecked(t *testing.T) {
	for name, b := range map[string]Backoff{
		"zero": {}, "no attempts": {Sleep: Sleep}, "no sleep": {Attempts: 1},
		"negative": {Attempts: 1, First: -1, Sleep: Sleep}, "longest below first": {Attempts: 1, First: 2, Longest: 1, Sleep: Sleep},
	} {
		if _, err := PushEpoch(ctx, nil, 1, nil, "", b); fault.KindOf(err) != fault.Config {
			t.Errorf("%s: %v", name, err)
		}
	}
	huge := Backoff{First: 1, Longest: 1<<63 - 1}
	if got := huge.wait(1000); got != 1<<63-1 {
		t.Errorf("wait 1000 is %v", got)
	}
}

// lateTags hides the tags at the first look, as when two pushers race.
type lateTags struct {
	Repository
	looks int
}

func (l *lateTags) Tags(ctx context.Context) ([]Tag, error) {
	if l.looks++; l.looks == 1 {
		return nil, nil
	}
	return l.Repository.Tags(ctx)
}

func TestPushEpochLosesARace(t *testing.T) {
	d := newDirectory(t)
	winner, err := PushEpoch(ctx, d, 1, epochs[0], "", once)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, d, winner.Commit.ID, "something else", text("x", "y"), text("config.json", "{changed}"))
	pushed, err := PushEpoch(ctx, &lateTags{Repository: d}, 1, epochs[0], "", once)
	if err != nil || !pushed.Existed || pushed.Commit != winner.Commit {
		t.Errorf("same content: %+v, %v", pushed, err)
	}
	_, err = PushEpoch(ctx, &lateTags{Repository: d}, 1, epochs[1], "", once)
	var conflict *TagConflictError
	if !errors.As(err, &conflict) {
		t.Errorf("other content: %v", err)
	}
}

func TestManyPushersOneEpochEach(t *testing.T) {
	d := newDirectory(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			own, err := OpenDirectory(d.root)
			if err != nil {
				errs[i] = err
				return
			}
			own.disk = laxDisk{}
			backoff := Backoff{Attempts: 1000, First: time.Microsecond, Longest: time.Millisecond, Sleep: Sleep}
			for _, files := range [][]Content{numbered(i + 1), numbered(i + 1)} {
				if _, err := PushEpoch(ctx, own, uint64(i+1), files, "", backoff); err != nil {
					errs[i] = err
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	checkNumbered(t, d, len(errs))
	// Every commit is in main's history: nobody's was overwritten.
	seen := map[string]bool{}
	for c, err := d.Resolve(ctx, "main"); c.ID != "" && err == nil; {
		seen[c.ID] = true
		if c.Parent == "" {
			break
		}
		c, err = d.Resolve(ctx, c.Parent)
	}
	tags, _ := d.Tags(ctx)
	for _, tag := range tags {
		if !seen[tag.Commit] {
			t.Errorf("the commit of tag %s is not in main's history", tag.Name)
		}
	}
}

func TestStreamReusesWhatIsStored(t *testing.T) {
	d := newDirectory(t)
	writes := 0
	big := Content{Path: "big", Size: 3, Write: func(w io.Writer) error {
		writes++
		_, err := io.WriteString(w, "abc")
		return err
	}}
	s := &shaky{Repository: d, after: map[string][]error{"commit": {outage, outage}}}
	if _, err := PushEpoch(ctx, s, 1, []Content{big}, "", patient(5, nil)); err != nil {
		t.Fatal(err)
	}
	if writes != 2 {
		t.Errorf("the content was produced %d times: once for its digest, once to store it", writes)
	}
	if got := strings.Join(s.calls, " "); got != "tags commit tags commit tags commit tag" {
		t.Errorf("calls: %s", got)
	}
}

// heldUp is a repository whose user is held up once, after a look at the tags.
type heldUp struct {
	Repository
	meanwhile func()
}

func (h *heldUp) Tags(ctx context.Context) ([]Tag, error) {
	tags, err := h.Repository.Tags(ctx)
	if f := h.meanwhile; f != nil {
		h.meanwhile = nil
		f()
	}
	return tags, err
}

// TestSlowPusherLeavesMainAlone: while a pusher of epoch 1 sleeps, others push
// epochs 1 and 2. When it wakes, main stays epoch 2's.
func TestSlowPusherLeavesMainAlone(t *testing.T) {
	d := newDirectory(t)
	backoff := Backoff{Attempts: 3, Sleep: Sleep}
	push := func(r Repository, epoch uint64) error {
		files := []Content{Bytes(WeightsFile, []byte{byte(epoch)})}
		_, err := PushEpoch(ctx, r, epoch, files, EpochTag(epoch), backoff)
		return err
	}
	slow := &heldUp{Repository: d, meanwhile: func() {
		for epoch := uint64(1); epoch <= 2; epoch++ {
			if err := push(d, epoch); err != nil {
				t.Fatal(err)
			}
		}
	}}
	if err := push(slow, 1); err != nil {
		t.Fatal(err)
	}
	main, err := d.Resolve(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	if two, err := d.Resolve(ctx, "2"); err != nil || main.ID != two.ID {
		t.Errorf("main is %s, tag 2 is %s (%v)", main.ID, two.ID, err)
	}
}
