package server

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

const (
	maxOperations = 20_000
	// maxInMemory is the largest content that is not written to a file of its
	// own while a commit is read.
	maxInMemory = 1 << 20
)

// operations is a commit as a client asks for it.
type operations struct {
	summary, description string
	parent               string
	files                []inlineFile
	large                []hub.FileInfo // by digest; Size is -1 where none was said
	deleteFiles          []string
	deleteFolders        []string

	spool string // folder for large contents
	left  int64  // bytes that contents may still have
	count int
}

// inlineFile is a file whose content came inside the commit, still encoded.
type inlineFile struct {
	path, encoding string
	content        spooled
}

// readOperations reads the lines of a commit, which hold at most limit bytes of
// content. Contents go to files in the folder spool; close removes them.
func readOperations(r io.Reader, spool string, limit int64) (_ *operations, err error) {
	o := &operations{spool: spool, left: limit}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	l := newLineReader(r)
	for line := 1; ; line++ {
		if _, err := l.next(); errors.Is(err, io.EOF) {
			break
		}
		if o.count++; o.count > maxOperations {
			return nil, fmt.Errorf("%w: more than %d lines", errTooLarge, maxOperations)
		}
		if err := o.line(l); err != nil {
			return nil, fmt.Errorf("line %d of the commit: %w", line, err)
		}
	}
	if o.summary == "" {
		return nil, errors.New("the commit has no header with a summary")
	}
	return o, nil
}

// operation is what a line may say, whatever its key.
type operation struct {
	path, summary, description, parent, encoding, algorithm, oid, oldPath string
	size                                                                  int64
	content                                                               spooled
}

func (o *operations) line(l *lineReader) error {
	key := ""
	op := operation{size: -1}
	err := l.object(func(field string) (err error) {
		switch field {
		case "key":
			key, err = l.text()
		case "value":
			err = l.object(func(field string) error { return o.field(l, field, &op) })
		default:
			err = l.skip(0)
		}
		return err
	})
	if err == nil {
		err = o.take(key, op)
	}
	if err != nil {
		op.content.close()
	}
	return err
}

func (o *operations) field(l *lineReader, field string, op *operation) (err error) {
	switch field {
	case "content":
		op.content.close() // the last one of two counts
		op.content, err = o.spoolText(l)
	case "path":
		op.path, err = l.text()
	case "summary":
		op.summary, err = l.text()
	case "description":
		op.description, err = l.textOrNull()
	case "parentCommit":
		op.parent, err = l.textOrNull()
	case "encoding":
		op.encoding, err = l.text()
	case "algo":
		op.algorithm, err = l.text()
	case "oid":
		op.oid, err = l.text()
	case "oldPath":
		op.oldPath, err = l.textOrNull()
	case "size":
		op.size, err = l.integer()
	default:
		err = l.skip(0)
	}
	return err
}

func (l *lineReader) textOrNull() (string, error) {
	if b, err := l.next(); err != nil || b == '"' {
		if err != nil {
			return "", unexpected(err)
		}
		return l.text()
	}
	s, err := l.bare()
	if err == nil && s != "null" {
		err = fmt.Errorf("%w: neither a string nor null", errJSON)
	}
	return "", err
}

// take sorts a line in.
func (o *operations) take(key string, op operation) error {
	if key != "header" {
		if err := hub.CheckPath(op.path); err != nil && key != "deletedFolder" {
			return err
		}
	}
	if op.oldPath != "" {
		return errors.New("files are not renamed here: delete one and add the other")
	}
	switch key {
	case "header":
		o.summary, o.description, o.parent = op.summary, op.description, op.parent
	case "file":
		if op.encoding != "base64" && op.encoding != "utf-8" && op.encoding != "" {
			return fmt.Errorf("%s: the encoding %q is unknown; use base64", op.path, clip(op.encoding))
		}
		o.files = append(o.files, inlineFile{op.path, op.encoding, op.content})
	case "lfsFile":
		sum, err := merkle.ParseDigest(op.oid)
		if err != nil || op.algorithm != "sha256" && op.algorithm != "sha_256" && op.algorithm != "" {
			return fmt.Errorf("%s: oid must be a SHA-256 in hex", op.path)
		}
		o.large = append(o.large, hub.FileInfo{Path: op.path, Size: op.size, SHA256: sum})
	case "deletedFile":
		o.deleteFiles = append(o.deleteFiles, op.path)
	case "deletedFolder":
		o.deleteFolders = append(o.deleteFolders, op.path)
	default:
		return fmt.Errorf("the operation %q is unknown", clip(key))
	}
	return nil
}

// close removes the files of contents.
func (o *operations) close() {
	for _, f := range o.files {
		f.content.close()
	}
}

// spooled is text in memory or, when it is long, in a file.
type spooled struct {
	data   []byte
	file   *os.File
	size   int64
	equals int64 // how many "=" it has: padding, in base64
	breaks int64 // and how many line breaks, which base64 does not have here
}

func (o *operations) spoolText(l *lineReader) (spooled, error) {
	w := &spooler{o: o}
	err := l.textTo(w)
	if err != nil {
		w.s.close()
		return spooled{}, err
	}
	return w.s, nil
}

type spooler struct {
	o *operations
	s spooled
}

func (w *spooler) Write(p []byte) (n int, err error) {
	if w.o.left -= int64(len(p)); w.o.left < 0 {
		return 0, errTooLarge
	}
	for _, c := range p {
		switch c {
		case '=':
			w.s.equals++
		case '\r', '\n':
			w.s.breaks++
		}
	}
	w.s.size += int64(len(p))
	if w.s.file == nil && len(w.s.data)+len(p) <= maxInMemory {
		w.s.data = append(w.s.data, p...)
		return len(p), nil
	}
	if w.s.file == nil {
		if w.s.file, err = os.CreateTemp(w.o.spool, "commit-*"); err != nil {
			return 0, err
		}
		if _, err = w.s.file.Write(w.s.data); err != nil {
			return 0, err
		}
		w.s.data = nil
	}
	return w.s.file.Write(p)
}

func (s *spooled) close() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
		s.file = nil
	}
}

// reader reads the text from its start.
func (s *spooled) reader() io.Reader {
	if s.file != nil {
		return io.NewSectionReader(s.file, 0, s.size)
	}
	return bytes.NewReader(s.data)
}

// decoded is the file itself, decoded as it is read.
func (f *inlineFile) decoded() (hub.Content, error) {
	c := hub.Content{Path: f.path, Size: f.content.size}
	open := f.content.reader
	if f.encoding == "base64" || f.encoding == "" {
		if f.content.size%4 != 0 || f.content.equals > 2 || f.content.breaks > 0 {
			return c, fault.Errorf(fault.Usage, "%s: the content is not base64", f.path)
		}
		c.Size = f.content.size/4*3 - f.content.equals
		open = func() io.Reader { return base64.NewDecoder(base64.StdEncoding, f.content.reader()) }
	}
	c.Write = func(w io.Writer) error {
		_, err := io.Copy(w, open())
		var corrupt base64.CorruptInputError
		if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fault.Errorf(fault.Usage, "%s: the content is not base64: %w", f.path, err)
		}
		return err
	}
	return c, nil
}
