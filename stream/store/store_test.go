package store

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lockstep/internal/fault"
)

func open(t testing.TB, dir string, limit int64) *Store {
	t.Helper()
	s, err := Open(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *Store, key string, data []byte) {
	t.Helper()
	if err := s.Put(key, data); err != nil {
		t.Fatal(err)
	}
}

func TestPutGet(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	put(t, s, "a", []byte("payload"))
	put(t, s, "empty", nil)
	for _, store := range []*Store{s, open(t, dir, 1<<20)} {
		if got, ok := store.Get("a"); !ok || string(got) != "payload" {
			t.Errorf("%q, %v", got, ok)
		}
		if got, ok := store.Get("empty"); !ok || len(got) != 0 {
			t.Errorf("%q, %v", got, ok)
		}
		if _, ok := store.Get("b"); ok {
			t.Error("b was never put")
		}
	}
	if err := s.Put("large", make([]byte, 1<<19)); fault.KindOf(err) != fault.Environment {
		t.Errorf("half the store for one object: %v", err)
	}
	if _, ok := s.Get("large"); ok {
		t.Error("half the store for one object")
	}
	var none *Store
	put(t, none, "a", []byte("x"))
	if _, ok := none.Get("a"); ok {
		t.Error("a nil store kept something")
	}
	if _, err := Open(dir, 0); fault.KindOf(err) != fault.Config {
		t.Errorf("limit 0: %v", err)
	}
}

// TestDamageIsNotThere flips every bit and cuts at every byte: such an object
// is gone, and its file with it.
func TestDamageIsNotThere(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	put(t, s, "key", []byte("0123456789"))
	path := s.file("key")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Has("key") || s.Has("other") {
		t.Errorf("what there is: %v, what there is not: %v", s.Has("key"), s.Has("other"))
	}
	check := func(name string, data []byte) {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		if len(data) != len(sound) && s.Has("key") {
			t.Fatalf("%s: it is there", name)
		}
		if got, ok := s.Get("key"); ok {
			t.Fatalf("%s: %q", name, got)
		}
		if _, err := os.Stat(path); err == nil {
			t.Fatalf("%s: the file is still there", name)
		}
	}
	for bit := range len(sound) * 8 {
		flipped := bytes.Clone(sound)
		flipped[bit/8] ^= 1 << (bit % 8)
		check(fmt.Sprint("bit ", bit), flipped)
	}
	for n := range sound {
		check(fmt.Sprint("cut at ", n), sound[:n])
	}
	check("a byte more", append(bytes.Clone(sound), 0))
	check("another key's object", encode("other", []byte("0123456789")))
}

// size is what the objects in a folder take.
func size(t testing.TB, dir string) (bytes int64, files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes, files = bytes+info.Size(), files+1
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes, files
}

func TestLimitKeepsWhatIsUsed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 100_000)
	for i := range 300 {
		put(t, s, fmt.Sprint(i), make([]byte, 1000))
		if i >= 10 {
			if _, ok := s.Get("3"); !ok {
				t.Fatalf("object 3, used all the time, is gone after %d", i)
			}
		}
		time.Sleep(time.Millisecond) // ages in the order of use
	}
	if n, _ := size(t, dir); n > 100_000 || n < 80_000 {
		t.Errorf("%d bytes are kept of 100,000", n)
	}
	if _, ok := s.Get("299"); !ok {
		t.Error("the newest object is gone")
	}
}

func TestRemove(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	put(t, s, "a", []byte("x"))
	s.Remove("a")
	s.Remove("a")
	if _, ok := s.Get("a"); ok || s.Has("a") {
		t.Error("a removed object is there")
	}
	var none *Store
	none.Remove("a")
	if none.Has("a") {
		t.Error("a nil store has something")
	}
}

// TestForeignFilesStay: of what lies in the folder only unfinished files of the
// store's own kind go by age, and only its own objects when it is full.
func TestForeignFilesStay(t *testing.T) {
	dir := t.TempDir()
	hex := strings.Repeat("0a", 31)
	stays := map[string]bool{
		"ab/object-17.part": false, "ab/17.part": false, "ab/" + hex + ".object": false,
		"movie.mkv.part": true, "Downloads/object-17.part": true, "ab/movie.mkv.part": true, "ab/cd/object-17.part": true,
		"17.part": true, "Downloads/17.part": true, "ab/cd/17.part": true, "ab/.part": true, "ab/part-17.part": true,
		"AB/object-17.part": true, "abc/object-17.part": true, "ab/object-.part": true, "object-17.part": true,
		hex + ".object": true, "Downloads/" + hex + ".object": true, "ab/cd/" + hex + ".object": true,
		"ab/notes.object": true, "ab/" + hex[1:] + ".object": true, "ab/" + strings.ToUpper(hex) + ".object": true,
	}
	for name := range stays {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, 2000), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-2*abandoned)); err != nil {
			t.Fatal(err)
		}
	}
	young := filepath.Join(dir, "ab", "object-18.part")
	if err := os.WriteFile(young, []byte("half"), 0o666); err != nil {
		t.Fatal(err)
	}
	open(t, dir, 1000)
	stays["ab/object-18.part"] = true
	for name, want := range stays {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); (err == nil) != want {
			t.Errorf("%s: stays %v, not %v", name, err == nil, want)
		}
	}
}

// TestPutOutlivesItsSweep: an object is kept although the look at the others
// that follows fails.
func TestPutOutlivesItsSweep(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read every folder")
	}
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	closed := filepath.Join(dir, "ff")
	if filepath.Dir(s.file("a")) == closed {
		t.Fatal("the key lies in the closed folder")
	}
	if err := os.Mkdir(closed, 0); err != nil {
		t.Fatal(err)
	}
	if s.sweep() == nil {
		t.Fatal("the sweep does not fail: the test shows nothing")
	}
	put(t, s, "a", make([]byte, 1<<17)) // more than a sixteenth
	if _, ok := s.Get("a"); !ok {
		t.Error("it is not there")
	}
}

// content is what belongs under a key.
func content(i int) []byte { return []byte(strings.Repeat(fmt.Sprint("object ", i, " "), 500+i)) }

// churn puts and gets objects, more than fit, and fails on a wrong one.
func churn(s *Store, start, n int) error {
	for i := start; i < start+n; i++ {
		k := i % 50
		if got, ok := s.Get(fmt.Sprint(k)); ok && !bytes.Equal(got, content(k)) {
			return fmt.Errorf("object %d holds %.40q", k, got)
		}
		if err := s.Put(fmt.Sprint(k), content(k)); err != nil {
			return err
		}
	}
	return nil
}

// TestManyUsers: stores over one folder, as processes have them, sweep and put
// at once.
func TestManyUsers(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for user := range 4 {
		s := open(t, dir, 100_000)
		group.Go(func() {
			if err := churn(s, user*13, 300); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n, _ := size(t, dir); n > 150_000 {
		t.Errorf("%d bytes are kept of 100,000", n)
	}
}

// churner makes the test binary a process that churns until it is killed.
const churner = "STORE_TEST_CHURN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(churner); dir != "" {
		s, err := Open(dir, 100_000)
		for start := 0; err == nil; start += 50 {
			err = churn(s, start, 50)
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestKilled kills processes in the middle of putting; what is left is whole or
// not there.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	for round := range 6 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), churner+"="+dir)
		var said bytes.Buffer
		child.Stdout = &said
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(30+round*17) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
		if said.Len() > 0 {
			t.Fatalf("round %d: %s", round, said.String())
		}
		if err := churn(open(t, dir, 100_000), round, 100); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, b.TempDir(), 1<<30)
	put(b, s, "chunk", make([]byte, 2<<20))
	b.SetBytes(2 << 20)
	for b.Loop() {
		if _, ok := s.Get("chunk"); !ok {
			b.Fatal("gone")
		}
	}
}
