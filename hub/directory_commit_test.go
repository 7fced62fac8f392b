package hub

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"lockstep/internal/fault"
)

// TestCommitRefusesBeforeItWrites asks for commits that can be refused without
// their contents: these are not asked for.
func TestCommitRefusesBeforeItWrites(t *testing.T) {
	d := newDirectory(t)
	head := commit(t, d, "", "one", text("dir/file", "1"), text("README.md", "2"))
	asked := false
	unasked := func(path string) Content {
		return Content{Path: path, Size: 1, Write: func(w io.Writer) error {
			asked = true
			_, err := w.Write([]byte("1"))
			return err
		}}
	}
	many := make([]Content, maxFiles-1)
	for i := range many {
		many[i] = unasked(fmt.Sprint(i))
	}
	for name, request := range map[string]CommitRequest{
		"too many files":              {Add: many},
		"nothing there to delete":     {Add: []Content{unasked("a")}, Delete: []string{"b"}},
		"a file and a folder":         {Add: []Content{unasked("dir")}},
		"a path twice":                {Add: []Content{unasked("a"), unasked("a")}},
		"other case":                  {Add: []Content{unasked("Readme.md")}},
		"other case, both new":        {Add: []Content{unasked("a"), unasked("A")}},
		"a file and a folder by case": {Add: []Content{unasked("DIR")}},
		"a folder and a file by case": {Add: []Content{unasked("readme.MD/x")}},
		"not the head":                {Parent: strings.Repeat("0", 40), Add: []Content{unasked("a")}},
		"a message that is too long":  {Message: strings.Repeat("x", maxMessage+1), Add: []Content{unasked("a")}},
	} {
		if request.Parent == "" {
			request.Parent = head.ID
		}
		if _, err := d.Commit(ctx, request); err == nil || asked {
			t.Errorf("%s: %v, contents asked for: %v", name, err, asked)
		}
		asked = false
	}
}

// TestOldCaseStays commits on top of paths that differ in case alone, as other
// versions may have made them.
func TestOldCaseStays(t *testing.T) {
	d := newDirectory(t)
	files, err := d.addBlobs(ctx, []Content{text("A", "1"), text("a", "2")})
	if err != nil {
		t.Fatal(err)
	}
	encoded := record{files: files}.encode()
	id := commitID(encoded)
	if err := errors.Join(d.put(ctx, Bytes(id+".json", encoded), commitsDir), d.putRef(ctx, headsDir, mainBranch, id)); err != nil {
		t.Fatal(err)
	}
	commit(t, d, id, "more", text("b", "3"))
}

// syncCounter counts the files that are synced.
type syncCounter struct {
	laxDisk
	synced int
}

type countedFile struct {
	diskFile
	disk *syncCounter
}

func (f countedFile) Sync() error { f.disk.synced++; return nil }

func (d *syncCounter) Create(dir string) (diskFile, error) {
	f, err := d.laxDisk.Create(dir)
	return countedFile{f, d}, err
}

// TestEqualContentsAreStoredOnce commits many equal files of unknown digest: one
// blob is synced, the commit file and the ref.
func TestEqualContentsAreStoredOnce(t *testing.T) {
	d := newDirectory(t)
	disk := &syncCounter{}
	d.disk = disk
	files := make([]Content, 100)
	for i := range files {
		files[i] = text(fmt.Sprint(i), "")
	}
	commit(t, d, "", "empty files", files...)
	if disk.synced != 3 {
		t.Errorf("%d files were synced, want 3", disk.synced)
	}
	if err := unfinishedIn(d.path(unfinishedDir)); err != nil {
		t.Error(err)
	}
}

// TestCreateTagOnce lets several make one tag at once: it is one who made it.
func TestCreateTagOnce(t *testing.T) {
	d := newDirectory(t)
	head := commit(t, d, "", "one", text("a", "1"))
	const callers = 8
	made := make([]error, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() { made[i] = d.CreateTag(ctx, "1", head.ID) })
	}
	group.Wait()
	wins := 0
	for _, err := range made {
		var exists *TagExistsError
		switch {
		case err == nil:
			wins++
		case !errors.As(err, &exists) || exists.Commit != head.ID || fault.KindOf(err) != fault.Refused:
			t.Errorf("got %v", err)
		}
	}
	if wins != 1 {
		t.Errorf("%d of %d made the tag", wins, callers)
	}
}
