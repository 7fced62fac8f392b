package stream

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// openLocal opens a file, or a folder of files ending in .parquet, .jsonl or
// .txt. A folder is read with its subfolders, in the byte order of the names
// relative to it; names that begin with a dot and files of other kinds are
// passed over. Symbolic links to files are followed, those to folders refused,
// because they may lead round in circles.
func openLocal(ctx context.Context, name string) (Source, error) {
	listed, err := list(name)
	if err != nil {
		return nil, err
	}
	f := &folder{pages: &pageCache{budget: pageCacheBytes}}
	for _, l := range listed {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := openFile(ctx, l, f.pages)
		if err != nil {
			return nil, err
		}
		f.add(l, r)
	}
	if f.Rows() == 0 {
		return nil, noRows(name)
	}
	f.identity = f.digest()
	return f, nil
}

// noRows refuses a source in which there is nothing to train on.
func noRows(name string) error {
	return fault.Errorf(fault.Config, "%s: the source has no rows", name)
}

// reader is one opened file.
type reader interface {
	rows() uint64
	size() int64
	// digest covers what the file holds, see FORMATS.md.
	digest() merkle.Digest
	// text returns a row, or says that it is null.
	text(ctx context.Context, row uint64) (text string, null bool, err error)
}

// listedFile is a file of a source before it is opened.
type listedFile struct {
	path string // as the file system knows it
	name string // relative to the source, with slashes
	kind string // "parquet", "jsonl" or "txt"
}

// openFile opens the reader for the file's kind.
func openFile(ctx context.Context, l listedFile, pages *pageCache) (reader, error) {
	d, err := newDisk(l.path)
	if err != nil {
		return nil, err
	}
	switch l.kind {
	case "parquet":
		return openParquet(d, textColumn, pages)
	case "jsonl":
		return openJSONL(ctx, d)
	default:
		return openTxt(ctx, d)
	}
}

// kindOf returns the kind of file that its name promises, or "".
func kindOf(name string) string {
	switch kind := strings.TrimPrefix(strings.ToLower(filepath.Ext(name)), "."); kind {
	case "parquet", "jsonl", "txt":
		return kind
	}
	return ""
}

// kindOfAll is the kind of the files, or "mixed".
func kindOfAll(files []listedFile) string {
	for _, l := range files[1:] {
		if l.kind != files[0].kind {
			return "mixed"
		}
	}
	return files[0].kind
}

// list returns the files of a source in their order.
func list(name string) ([]listedFile, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Errorf(fault.Config, "data source %q: there is no such file or folder; \"builtin\" needs none", name)
	}
	if err != nil {
		return nil, fault.Errorf(fault.Config, "data source: %w", err)
	}
	if !info.IsDir() {
		kind := kindOf(name)
		if kind == "" {
			return nil, fault.Errorf(fault.Config, "data source %q: a file must end in .parquet, .jsonl or .txt", name)
		}
		return []listedFile{{path: name, name: filepath.Base(name), kind: kind}}, nil
	}
	var found []listedFile
	if err := walk(name, ".", &found); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.Errorf(fault.Config, "data source %q: no file in the folder ends in .parquet, .jsonl or .txt", name)
	}
	slices.SortFunc(found, func(a, b listedFile) int { return strings.Compare(a.name, b.name) })
	return found, nil
}

// walk appends the files below root/dir.
func walk(root, dir string, found *[]listedFile) error {
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		return fault.Errorf(fault.Config, "data source: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		relative := filepath.Join(dir, e.Name())
		path := filepath.Join(root, relative)
		if e.IsDir() {
			if err := walk(root, relative, found); err != nil {
				return err
			}
			continue
		}
		if e.Type()&fs.ModeSymlink != 0 {
			target, err := os.Stat(path)
			if err != nil {
				return fault.Errorf(fault.Config, "data source: the symbolic link %s leads nowhere: %w", path, err)
			}
			if target.IsDir() {
				return fault.Errorf(fault.Config, "data source: %s is a symbolic link to a folder; name that folder itself, or copy it", path)
			}
		}
		if kind := kindOf(e.Name()); kind != "" {
			*found = append(*found, listedFile{path: path, name: filepath.ToSlash(relative), kind: kind})
		}
	}
	return nil
}

// folder is a source of files, one behind the other.
type folder struct {
	files    []listedFile
	readers  []reader
	ends     []uint64   // rows up to and with each file
	pages    *pageCache // of all parquet files together
	identity merkle.Digest
}

func (f *folder) add(l listedFile, r reader) {
	f.files = append(f.files, l)
	f.readers = append(f.readers, r)
	f.ends = append(f.ends, f.Rows()+r.rows())
}

func (f *folder) Name() string { return kindOfAll(f.files) }

func (f *folder) Identity() merkle.Digest { return f.identity }

func (f *folder) Rows() uint64 {
	if len(f.ends) == 0 {
		return 0
	}
	return f.ends[len(f.ends)-1]
}

func (f *folder) Text(ctx context.Context, row uint64) (Row, error) {
	if err := checkRow(ctx, f, row); err != nil {
		return Row{}, err
	}
	i := sort.Search(len(f.ends), func(i int) bool { return row < f.ends[i] })
	inside := row - (f.ends[i] - f.readers[i].rows())
	text, null, err := f.readers[i].text(ctx, inside)
	if err != nil {
		return Row{}, err
	}
	return newRow(text, null, f.files[i].name, inside), nil
}

// Close frees the cache. No file is held open between reads.
func (f *folder) Close() error {
	f.pages.clear()
	return nil
}

// digest covers name, kind, size, rows and content of every file, in order.
func (f *folder) digest() merkle.Digest {
	buf := []byte("lockstep/source/1")
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(f.files)))
	for i, l := range f.files {
		r := f.readers[i]
		for _, s := range []string{l.name, l.kind} {
			buf = binary.LittleEndian.AppendUint32(buf, uint32(len(s)))
			buf = append(buf, s...)
		}
		buf = binary.LittleEndian.AppendUint64(buf, uint64(r.size()))
		buf = binary.LittleEndian.AppendUint64(buf, r.rows())
		content := r.digest()
		buf = append(buf, content[:]...)
	}
	return sha256.Sum256(buf)
}
