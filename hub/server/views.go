package server

import (
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
	maxOpened = 8 // configurations held open
)

// opened are the configurations that are held open.
type opened struct {
	mu    sync.Mutex
	order []string // keys, the last used at the end
	held  map[string]*heldRows
}

// heldRows is an open source; users counts the requests that read it.
type heldRows struct {
	RowSource
	folder string
	users  int
	gone   bool // dropped: the last user closes it
}

func (h *heldRows) close() {
	_ = h.Close() // it was only read
	_ = os.RemoveAll(h.folder)
}

// rows opens a configuration: its files get their names back in a folder of
// links, where they are read.
func (c *call) rows(v viewed, config string) (RowSource, func(), error) {
	if c.options.Rows == nil {
		return nil, nil, fault.Errorf(fault.Refused, "this server does not read rows")
	}
	o := &c.opened
	key := v.commit + " " + v.id + " " + config
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.held[key]
	if h != nil && os.Chtimes(h.folder, time.Time{}, time.Now()) != nil { // somebody cleared it away
		o.drop(key)
		h = nil
	}
	if h == nil {
		folder, err := c.linkFiles(v.configs[config])
		if err != nil {
			return nil, nil, err
		}
		source, err := c.options.Rows(c.r.Context(), folder)
		if err != nil {
			os.RemoveAll(folder)
			return nil, nil, errors.New(strings.ReplaceAll(err.Error(), folder, v.id))
		}
		h = &heldRows{RowSource: source, folder: folder}
		if o.held == nil {
			o.held = map[string]*heldRows{}
		}
		o.held[key] = h
	}
	o.order = append(slices.DeleteFunc(o.order, func(k string) bool { return k == key }), key)
	h.users++
	for len(o.order) > maxOpened {
		o.drop(o.order[0])
	}
	return h, func() { o.release(h) }, nil
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
func (c *call) linkFiles(files []hub.FileInfo) (string, error) {
	folder, err := os.MkdirTemp(filepath.Join(c.root, viewsDir), "rows-*")
	if err != nil {
		return "", err
	}
	for i, f := range files {
		var blob *os.File
		if blob, err = c.repo.content(c.r.Context(), f); err != nil {
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
