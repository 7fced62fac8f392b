package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/hub/server"
	"lockstep/internal/fault"
)

var ctx = context.Background()

// patient tries six times without waiting.
func patient(waits *[]time.Duration) hub.Backoff {
	return hub.Backoff{Attempts: 6, First: time.Second, Longest: 8 * time.Second, Sleep: func(ctx context.Context, d time.Duration) error {
		if waits != nil {
			*waits = append(*waits, d)
		}
		return ctx.Err()
	}}
}

// line is a connection to a server that fails as a test says.
type line struct {
	mu   sync.Mutex
	sent []string // method and path of every request
	// fault is asked before each request; nil lets it pass.
	fault func(r *http.Request, n int) *mishap
}

// mishap is how one request goes wrong.
type mishap struct {
	status int    // this answer instead of the server's
	header string // "Name: value" of that answer, a line each
	body   string
	lost   bool  // the server answers, and the answer is lost
	cut    int   // the answer ends after so many bytes
	down   bool  // no connection
	err    error // this instead of an answer
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	n := len(l.sent)
	l.sent = append(l.sent, r.Method+" "+r.URL.Path)
	var m *mishap
	if l.fault != nil {
		m = l.fault(r, n)
	}
	l.mu.Unlock()
	if m == nil {
		return http.DefaultTransport.RoundTrip(r)
	}
	if m.down || m.err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, cmp.Or(m.err, errors.New("connection refused"))
	}
	if m.status != 0 {
		if r.Body != nil {
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
		w := httptest.NewRecorder()
		for line := range strings.SplitSeq(m.header, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				w.Header().Set(name, value)
			}
		}
		w.WriteHeader(m.status)
		w.WriteString(m.body)
		answer := w.Result()
		answer.Request = r
		return answer, nil
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	switch {
	case err != nil:
	case m.lost:
		answer.Body.Close()
		return nil, errors.New("connection reset by peer")
	default:
		answer.Body = &cutBody{answer.Body, m.cut}
	}
	return answer, err
}

type cutBody struct {
	io.ReadCloser
	left int
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// count is how many requests began so.
func (l *line) count(prefix string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sent {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// world is a server with a repository, and a client on a line to it.
type world struct {
	*Repo
	server *server.Server
	http   *httptest.Server
	line   *line
	waits  []time.Duration
}

func newWorld(t testing.TB, options server.Options) *world {
	t.Helper()
	s, err := server.New(t.TempDir(), options)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{server: s, http: httptest.NewServer(s), line: &line{}}
	t.Cleanup(w.http.Close)
	w.Repo = w.again(t, Config{Cache: t.TempDir()})
	if err := w.Create(ctx, false); err != nil {
		t.Fatal(err)
	}
	w.line.sent = nil
	return w
}

// again is another client of the same server.
func (w *world) again(t testing.TB, c Config) *Repo {
	t.Helper()
	c.Endpoint, c.Token, c.Transport, c.Backoff = w.http.URL, w.server.WriteToken(), w.line, patient(&w.waits)
	k, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := k.Repo(Model, "lockstep/nano")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fetched publishes epochOne and reads one of its files into the cache. It
// returns the commit.
func (w *world) fetched(t testing.TB, path string) string {
	t.Helper()
	pushed, err := push(w, 1, epochOne)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read(w, "1", path); err != nil {
		t.Fatal(err)
	}
	return pushed.Commit.ID
}

// withoutLinks makes the cache of this test one of copies.
func withoutLinks(t testing.TB) {
	t.Cleanup(func() { symlink = os.Symlink })
	symlink = func(string, string) error { return &os.LinkError{Op: "symlink", Err: syscall.EPERM} }
}

func text(path, s string) hub.Content { return hub.Bytes(path, []byte(s)) }

func read(r hub.Repository, revision, path string) (string, error) {
	f, err := r.Open(ctx, revision, path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err == nil && int64(len(b)) != f.Size() {
		err = fmt.Errorf("%d bytes, said to have %d", len(b), f.Size())
	}
	return string(b), err
}

func head(t testing.TB, r hub.Repository) hub.Commit {
	t.Helper()
	c, err := r.Resolve(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRepository holds the client to what hub.Repository promises.
func TestRepository(t *testing.T) {
	w := newWorld(t, server.Options{})
	start := head(t, w)
	one, err := w.Commit(ctx, hub.CommitRequest{Parent: start.ID, Message: "one\n\nin words", Add: []hub.Content{
		text("config.json", "{}"), text("model.safetensors", "weights one"), text("sub/a.txt", "a"), text("empty.txt", ""), text("empty.bin", "")}})
	if err != nil || one.Parent != start.ID || len(one.ID) != 40 {
		t.Fatalf("%+v, %v", one, err)
	}
	if again := head(t, w); again != one {
		t.Errorf("resolved %+v, committed %+v", again, one)
	}
	two, err := w.Commit(ctx, hub.CommitRequest{Parent: one.ID, Message: "two", Delete: []string{"sub/a.txt"}, Add: []hub.Content{text("config.json", "{2}")}})
	if err != nil {
		t.Fatal(err)
	}
	files, err := w.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files[1:] { // the first is the server's .gitattributes
		same, err := f.Holds(hub.Content{Size: 3, Write: text("", "{2}").Write})
		got = append(got, fmt.Sprintf("%s %d %v", f.Path, f.Size, same && err == nil))
	}
	if want := "config.json 3 true, empty.bin 0 false, empty.txt 0 false, model.safetensors 11 false"; strings.Join(got, ", ") != want {
		t.Errorf("got %s", strings.Join(got, ", "))
	}
	for _, c := range []struct{ revision, path, want string }{
		{"main", "config.json", "{2}"}, {one.ID, "config.json", "{}"}, {one.ID[:10], "sub/a.txt", "a"}, {"", "model.safetensors", "weights one"}, {"HEAD", "empty.txt", ""}, {two.ID, "empty.bin", ""},
	} {
		if got, err := read(w, c.revision, c.path); err != nil || got != c.want {
			t.Errorf("%s at %s: %q, %v", c.path, c.revision, got, err)
		}
	}
	if err := errors.Join(w.Tag(ctx, "10", two.ID), w.Tag(ctx, "9", one.ID), w.Tag(ctx, "9", one.ID)); err != nil {
		t.Error(err)
	}
	var exists *hub.TagExistsError
	if err := w.Tag(ctx, "9", two.ID); !errors.As(err, &exists) || exists.Commit != one.ID {
		t.Errorf("tagging another commit: %v", err)
	}
	if tags, err := w.Tags(ctx); err != nil || !slices.Equal(tags, []hub.Tag{{Name: "9", Commit: one.ID}, {Name: "10", Commit: two.ID}}) {
		t.Errorf("%v, %v", tags, err)
	}
	var moved *hub.HeadMovedError
	if _, err := w.Commit(ctx, hub.CommitRequest{Parent: one.ID, Message: "late", Add: []hub.Content{text("x", "x")}}); !errors.As(err, &moved) || moved.Head != two.ID {
		t.Errorf("a commit on an old parent: %v", err)
	}
	if same, err := w.Commit(ctx, hub.CommitRequest{Parent: two.ID, Message: "nothing", Add: []hub.Content{text("config.json", "{2}")}}); err != nil || same != two {
		t.Errorf("a commit that changes nothing: %+v, %v", same, err)
	}
	var missing *hub.NotFoundError
	for what, err := range map[string]error{
		"revision": second(w.Resolve(ctx, "nowhere")), "file": second(read(w, "main", "nowhere")),
		"the file to delete": second(w.Commit(ctx, hub.CommitRequest{Parent: two.ID, Message: "x", Delete: []string{"nowhere"}})),
	} {
		if !errors.As(err, &missing) {
			t.Errorf("a missing %s: %v", what, err)
		}
	}
	other, err := w.client.Repo(Model, "lockstep/other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Resolve(ctx, ""); !errors.As(err, &missing) {
		t.Errorf("a missing repository: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestContentsMustKeepTheirWord commits contents that do not write what they
// promised.
func TestContentsMustKeepTheirWord(t *testing.T) {
	w := newWorld(t, server.Options{})
	start := head(t, w)
	short := text("a.bin", "abc")
	short.Size = 4
	long := text("a.bin", "abc")
	long.Size = 2
	wrong := text("a.bin", "abc")
	wrong.SHA256[0] = 1
	failing := hub.Content{Path: "a.bin", Size: 3, Write: func(io.Writer) error { return fault.Errorf(fault.Damaged, "disk") }}
	outside := text("../a.bin", "abc")
	for name, c := range map[string]hub.Content{"short": short, "long": long, "wrong": wrong, "failing": failing, "outside": outside} {
		if _, err := w.Commit(ctx, hub.CommitRequest{Parent: start.ID, Message: "x", Add: []hub.Content{c}}); err == nil || fault.KindOf(err) == fault.Network {
			t.Errorf("%s: %v", name, err)
		}
	}
	if head(t, w) != start {
		t.Error("something was committed")
	}
}

// TestLargeFilesInParts sends a file in parts, some of which fail, and reads it
// back through bodies that end early.
func TestLargeFilesInParts(t *testing.T) {
	w := newWorld(t, server.Options{MultipartFrom: 1000, PartSize: 4099})
	big := strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz", 2000)
	failed := map[string]bool{}
	w.line.fault = func(r *http.Request, n int) *mishap {
		key := r.Method + r.URL.RawQuery
		if r.Method != http.MethodPut || n%3 != 0 || failed[key] {
			return nil
		}
		failed[key] = true
		if n%2 == 0 {
			return &mishap{lost: true}
		}
		return &mishap{status: 503}
	}
	if _, err := w.Commit(ctx, hub.CommitRequest{Parent: head(t, w).ID, Message: "big", Add: []hub.Content{text("model.safetensors", big)}}); err != nil {
		t.Fatal(err)
	}
	if len(failed) < 4 {
		t.Fatalf("only %d parts failed", len(failed))
	}
	reads := 0
	w.line.fault = func(r *http.Request, n int) *mishap {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/resolve/") {
			return nil
		}
		if reads++; reads < 5 {
			return &mishap{cut: 10_000}
		}
		return nil
	}
	if got, err := read(w, "main", "model.safetensors"); err != nil || got != big {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(big), err)
	}
	if reads != 5 {
		t.Errorf("%d reads, want 5: each goes on where the one before ended", reads)
	}
}

// TestFeedRestarts reads sections of a content in order, back, and again.
func TestFeedRestarts(t *testing.T) {
	content := strings.Repeat("abcdefghij", 1000)
	written := 0
	f := &feed{content: hub.Content{Size: int64(len(content)), Write: func(w io.Writer) error {
		written++
		_, err := io.Copy(w, strings.NewReader(content))
		return err
	}}}
	defer f.close()
	take := func(offset, size int64) string {
		t.Helper()
		s, err := f.section(offset, size)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(s)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		return string(b)
	}
	if take(0, 4000)+take(4000, 6000) != content || written != 1 {
		t.Errorf("in order: written %d times", written)
	}
	if take(2000, 10) != content[2000:2010] || written != 2 {
		t.Errorf("going back: written %d times", written)
	}
	s, err := f.section(2010, 100)
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(s, make([]byte, 7)) // and then given up
	if take(2010, 100) != content[2010:2110] || written != 3 {
		t.Errorf("after half a section: written %d times", written)
	}
	if n, err := s.Read(make([]byte, 10)); err == nil {
		t.Errorf("a section that was given up gives %d bytes more", n)
	}
}

func TestProgress(t *testing.T) {
	w := newWorld(t, server.Options{})
	var seen []Transfer
	r := w.again(t, Config{Cache: t.TempDir(), Progress: func(p Transfer) { seen = append(seen, p) }})
	data := bytes.Repeat([]byte("x"), 1<<20)
	if _, err := r.Commit(ctx, hub.CommitRequest{Parent: head(t, r).ID, Message: "x", Add: []hub.Content{hub.Bytes("a.bin", data)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := read(r, "main", "a.bin"); err != nil {
		t.Fatal(err)
	}
	ends := 0
	for _, p := range seen {
		if p.Total != 1<<20 || p.Path != "a.bin" || p.Done > p.Total {
			t.Errorf("%+v", p)
		}
		if p.Done == p.Total {
			ends++
		}
	}
	if ends != 2 {
		t.Errorf("%d transfers ended: %+v", ends, seen)
	}
}
