package server

import (
	"io"
	"os"
	"path/filepath"
)

// maxInMemory is how much of the contents of one commit stays in memory.
const maxInMemory = 4 << 20

// spooledPrefix begins the names of spools' files.
const spooledPrefix = "commit-"

// spool takes the contents of a commit end to end: the first maxInMemory bytes
// stay in memory, the others go to one file, which has no name where the system
// lets open files be removed: it then ends with the process, however that ends.
type spool struct {
	folder string
	left   int64 // bytes that may still come
	memory []byte
	file   *os.File
	size   int64
}

// spooled is a text in a spool.
type spooled struct {
	io.ReaderAt
	at, size int64
	equals   int64 // how many "=" it has: padding, in base64
	breaks   int64 // and how many line breaks, which base64 does not have here
}

// reader reads the text from its start.
func (s *spooled) reader() io.Reader { return io.NewSectionReader(s, s.at, s.size) }

// text reads a string behind all that came before.
func (s *spool) text(l *lineReader) (*spooled, error) {
	w := &spooler{s, spooled{ReaderAt: s, at: s.size}}
	if err := l.textTo(w); err != nil {
		return nil, err
	}
	return &w.text, nil
}

// spooler appends one text.
type spooler struct {
	*spool
	text spooled
}

func (w *spooler) Write(p []byte) (int, error) {
	if w.left -= int64(len(p)); w.left < 0 {
		return 0, errTooLarge
	}
	for _, c := range p {
		switch c {
		case '=':
			w.text.equals++
		case '\r', '\n':
			w.text.breaks++
		}
	}
	n, err := w.append(p)
	w.text.size += int64(n)
	return n, err
}

// append takes bytes to memory while there is room, and then to the file.
func (s *spool) append(p []byte) (n int, err error) {
	n = min(len(p), maxInMemory-len(s.memory))
	s.memory = append(s.memory, p[:n]...)
	if n < len(p) {
		if s.file == nil {
			err = s.create()
		}
		if err == nil {
			var written int
			written, err = s.file.Write(p[n:])
			n += written
		}
	}
	s.size += int64(n)
	return n, err
}

func (s *spool) create() (err error) {
	if s.file, err = os.CreateTemp(s.folder, spooledPrefix+"*"); err == nil {
		_ = os.Remove(s.file.Name()) // Windows keeps open files; close tries again
	}
	return err
}

// ReadAt implements io.ReaderAt, for readers that stay below size.
func (s *spool) ReadAt(p []byte, off int64) (n int, err error) {
	if off < int64(len(s.memory)) {
		n = copy(p, s.memory[off:])
	}
	if n < len(p) && s.file != nil {
		var more int
		more, err = s.file.ReadAt(p[n:], off+int64(n)-maxInMemory)
		n += more
	}
	if n < len(p) && err == nil {
		err = io.EOF
	}
	return n, err
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
		_ = os.Remove(s.file.Name()) // gone already, or New removes it
	}
}

// clearSpools removes the spools that a killed server left behind where open
// files keep their names; there those of a running one cannot be removed.
func clearSpools(folder string) {
	left, _ := filepath.Glob(filepath.Join(folder, spooledPrefix+"*")) // the pattern is good
	for _, name := range left {
		_ = os.Remove(name)
	}
}
