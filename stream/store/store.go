// Package store keeps what was fetched and checked on disk, so that it is
// fetched once. It knows nothing of what it keeps: an object is bytes under a
// key that says what they are, and never changes.
//
// Several processes may use one folder, and any of them may be killed at any
// moment. There are no locks: an object comes into being by renaming a finished
// file, goes by being removed, and is believed only if its digest holds
// (FORMATS.md, "Cache of remote data"). Whatever else lies in the folder, or in
// a folder of it, is somebody else's and is left alone.
package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"lockstep/internal/fault"
)

// Store is a folder of objects. A nil Store keeps nothing. It is safe for
// concurrent use.
type Store struct {
	dir   string
	limit int64

	mu    sync.Mutex
	used  int64 // by the last look, plus what was put since
	fresh int64 // put since the last look
}

const (
	format    = "lockstep/object/1"
	suffix    = ".object"
	temporary = "object-*.part" // as os.CreateTemp has it
	abandoned = time.Hour       // age at which an unfinished file is nobody's
)

// Names of what the store makes; nothing else is ever removed.
var (
	folderName    = regexp.MustCompile(`^[0-9a-f]{2}$`)
	objectName    = regexp.MustCompile(`^[0-9a-f]{62}\.object$`)
	temporaryName = regexp.MustCompile(`^(object-)?[0-9]+\.part$`) // without "object-": of earlier versions
)

// Open returns the store in a folder, which it makes, with at most limit bytes
// in it; other processes may add up to a sixteenth each until they look again.
func Open(dir string, limit int64) (*Store, error) {
	if limit < 1 {
		return nil, fault.Errorf(fault.Config, "a cache of %d bytes keeps nothing", limit)
	}
	s := &Store{dir: dir, limit: limit}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	return s, s.sweep()
}

// file is where an object lies.
func (s *Store) file(key string) string {
	name := hex.EncodeToString(sum([]byte(key)))
	return filepath.Join(s.dir, name[:2], name[2:]+suffix)
}

// Get returns an object. One that is damaged is removed and not there.
func (s *Store) Get(key string) ([]byte, bool) {
	if s == nil {
		return nil, false
	}
	path := s.file(key)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	payload, ok := decode(key, data)
	if !ok {
		os.Remove(path)
		return nil, false
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // its age decides what goes first; without it only the choice is worse
	return payload, true
}

// Has says whether an object is there, by key and size: its digest is checked
// when it is read.
func (s *Store) Has(key string) bool {
	if s == nil {
		return false
	}
	f, err := os.Open(s.file(key))
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	front := prefix(key)
	data := make([]byte, len(front)+8)
	if _, err := io.ReadFull(f, data); err != nil || !bytes.Equal(data[:len(front)], front) {
		return false
	}
	return binary.LittleEndian.Uint64(data[len(front):]) == uint64(info.Size()-int64(len(data)+sha256.Size))
}

// Remove drops an object that turned out to be wrong. One that is not there is
// no error, and neither is a file system that will not let go of it: then it
// is met again.
func (s *Store) Remove(key string) {
	if s != nil {
		os.Remove(s.file(key))
	}
}

// Put keeps an object. One that would take more than a quarter of the store is
// a fault.Environment error, any other is the file system's: a full disk, say.
// The object is then not there, and nothing else is lost.
func (s *Store) Put(key string, payload []byte) error {
	if s == nil {
		return nil
	}
	data := encode(key, payload)
	if int64(len(data)) > s.limit/4 {
		return fault.Errorf(fault.Environment, "a cache of %d bytes is too small for a piece of %d: it may take a quarter", s.limit, len(data))
	}
	if err := s.write(s.file(key), data); err != nil {
		return err
	}
	s.mu.Lock()
	s.used += int64(len(data))
	s.fresh += int64(len(data))
	look := s.used > s.limit || s.fresh > s.limit/16
	s.mu.Unlock()
	if look {
		_ = s.sweep() // the object is there all the same, and a later Put or Open looks again
	}
	return nil
}

// write makes a file by renaming. It is not synced: what a power failure leaves
// of it has another digest.
func (s *Store) write(path string, data []byte) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// object is a file of the store.
type object struct {
	path string
	size int64
	used time.Time
}

// sweep looks at all files of the store, and removes those used longest ago
// until a tenth of it is free, if it is over its limit. Two processes that sweep
// at once remove the same ones.
func (s *Store) sweep() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	objects, err := s.objects()
	s.used, s.fresh = 0, 0
	for _, o := range objects {
		s.used += o.size
	}
	if err != nil || s.used <= s.limit {
		return err
	}
	slices.SortFunc(objects, func(a, b object) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.path, b.path)) })
	for _, o := range objects {
		if s.used <= s.limit-s.limit/10 {
			break
		}
		if err := os.Remove(o.path); ignoreGone(err) != nil {
			return err
		}
		s.used -= o.size
	}
	return nil
}

// objects lists what is in the folders of the store, and removes what killed
// processes left there.
func (s *Store) objects() ([]object, error) {
	folders, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, ignoreGone(err)
	}
	var objects []object
	for _, folder := range folders {
		if !folder.IsDir() || !folderName.MatchString(folder.Name()) {
			continue
		}
		dir := filepath.Join(s.dir, folder.Name())
		files, err := os.ReadDir(dir)
		if ignoreGone(err) != nil {
			return nil, err
		}
		for _, file := range files {
			info, err := file.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			path := filepath.Join(dir, file.Name())
			switch {
			case objectName.MatchString(file.Name()):
				objects = append(objects, object{path, info.Size(), info.ModTime()})
			case temporaryName.MatchString(file.Name()) && time.Since(info.ModTime()) > abandoned:
				os.Remove(path)
			}
		}
	}
	return objects, nil
}

// ignoreGone drops the error of a file that another process removed first.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// encode makes the file of an object:
//
//	"lockstep/object/1" ‖ u32 len‖key ‖ u64 len‖payload ‖ SHA-256 of all that
func encode(key string, payload []byte) []byte {
	data := slices.Grow(prefix(key), 8+len(payload)+sha256.Size)
	data = binary.LittleEndian.AppendUint64(data, uint64(len(payload)))
	data = append(data, payload...)
	return append(data, sum(data)...)
}

// prefix is what stands before the length of the payload.
func prefix(key string) []byte {
	data := binary.LittleEndian.AppendUint32([]byte(format), uint32(len(key)))
	return append(data, key...)
}

// decode returns the payload of a file that is whole and holds key.
func decode(key string, data []byte) ([]byte, bool) {
	front := prefix(key)
	start, end := len(front)+8, len(data)-sha256.Size
	if end < start || !bytes.Equal(data[:len(front)], front) {
		return nil, false
	}
	if binary.LittleEndian.Uint64(data[len(front):]) != uint64(end-start) || !bytes.Equal(sum(data[:end]), data[end:]) {
		return nil, false
	}
	return data[start:end:end], true
}

func sum(data []byte) []byte {
	digest := sha256.Sum256(data)
	return digest[:]
}
