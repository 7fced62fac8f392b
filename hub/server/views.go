package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"lockstep/hub"
	"lockstep/internal/fault"
)

const (
	viewsDir  = "views"
	maxOpened = 8 // configurations held open; so many more may be opening
)

// opened are the configurations that are held open.
type opened struct {
	mu      sync.Mutex
	order   []string // keys, the last used at the end
	held    map[string]*heldRows
	opening chan struct{} // one for each that is being opened
}

func newOpened() *opened {
	return &opened{held: map[string]*heldRows{}, opening: make(chan struct{}, maxOpened)}
}

// errLeft says that who was to open a source left before it was its turn.
var errLeft = errors.New("the client that asked for the rows has left")

// heldRows is a source that is open, or being opened by who asked first; users
// counts the requests that read it or wait for it.
type heldRows struct {
	RowSource
	err    error         // why it could not be opened
	ready  chan struct{} // closed when it is open, or err is known
	folder string
	users  int
	gone   bool // dropped: the last user closes it
}

func (h *heldRows) close() {
	if h.err == nil {
		_ = h.Close() // it was only read
		_ = os.RemoveAll(h.folder)
	}
}

// rows opens a configuration, and returns what gives it back. Comparing and
// reading its files takes as long as they are large, and keeps nobody waiting
// who asks for another one.
func (c *call) rows(v viewed, config string) (RowSource, func(), error) {
	if c.options.Rows == nil {
		return nil, nil, fault.Errorf(fault.Refused, "this server does not read rows")
	}
	key := v.commit + " " + v.id + " " + config
	for {
		h, first := c.opened.take(key)
		if first {
			h.open(func() (RowSource, string, error) { return c.openRows(v, config) })
		}
		err := h.wait(c.r.Context())
		if err == nil {
			return h, func() { c.opened.release(h) }, nil
		}
		c.opened.release(h)
		if !errors.Is(err, errLeft) || c.r.Context().Err() != nil {
			return nil, nil, err
		}
	}
}

// wait waits until a source is open, or ctx ends.
func (h *heldRows) wait(ctx context.Context) error {
	select {
	case <-h.ready:
		return h.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// open opens a source for all who wait for it, who are told also if it panics.
func (h *heldRows) open(rows func() (source RowSource, folder string, err error)) {
	defer close(h.ready)
	h.err = errors.New("the rows could not be opened")
	h.RowSource, h.folder, h.err = rows()
}

// take finds what is held under a key, or begins it: first says that the caller
// must open it.
func (o *opened) take(key string) (h *heldRows, first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h = o.held[key]; h != nil && h.failed() {
		o.drop(key)
		h = nil
	}
	if h == nil {
		h, first = &heldRows{ready: make(chan struct{})}, true
		o.held[key] = h
	}
	o.order = append(slices.DeleteFunc(o.order, func(k string) bool { return k == key }), key)
	h.users++
	for len(o.order) > maxOpened {
		o.drop(o.order[0])
	}
	return h, first
}

// failed reports whether a source could not be opened, or somebody cleared its
// folder away.
func (h *heldRows) failed() bool {
	select {
	case <-h.ready:
		return h.err != nil || os.Chtimes(h.folder, time.Time{}, time.Now()) != nil
	default:
		return false
	}
}

// openRows gives the files of a configuration their names back in a folder of
// links, where they are read. Once it is its turn it goes on when its client has
// left: others may wait for it.
func (c *call) openRows(v viewed, config string) (source RowSource, folder string, err error) {
	select {
	case c.opened.opening <- struct{}{}:
		defer func() { <-c.opened.opening }()
	case <-c.r.Context().Done():
		return nil, "", errLeft
	}
	ctx := context.WithoutCancel(c.r.Context())
	if folder, err = c.linkFiles(ctx, v.configs[config]); err != nil {
		return nil, "", err
	}
	if source, err = c.options.Rows(ctx, folder); err != nil {
		os.RemoveAll(folder)
		return nil, "", errors.New(strings.ReplaceAll(err.Error(), folder, v.id))
	}
	return source, folder, nil
}

func (o *opened) drop(key string) {
	h := o.held[key]
	delete(o.held, key)
	o.order = slices.DeleteFunc(o.order, func(k string) bool { return k == key })
	if h.gone = true; h.users == 0 {
		h.close()
	}
}

// dropAll closes what is held, when the server ends.
func (o *opened) dropAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.order) > 0 {
		o.drop(o.order[0])
	}
}

func (o *opened) release(h *heldRows) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h.users--; h.users == 0 && h.gone {
		h.close()
	}
}

// linkFiles makes a folder in which blobs have their files' names, flat and in
// order of their paths.
func (c *call) linkFiles(ctx context.Context, files []hub.FileInfo) (string, error) {
	folder, err := os.MkdirTemp(filepath.Join(c.root, viewsDir), "rows-*")
	if err != nil {
		return "", err
	}
	for i, f := range files {
		var blob *os.File
		if blob, err = c.repo.content(ctx, f); err != nil {
			break
		}
		blob.Close()
		name := filepath.Join(folder, strconv.Itoa(1_000_000+i)+path.Ext(f.Path))
		if err = os.Link(blob.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		os.RemoveAll(folder)
		return "", err
	}
	return folder, nil
}
