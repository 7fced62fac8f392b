package server

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

const (
	maxOperations = 20_000
)

// operations is a commit as a client asks for it.
type operations struct {
	summary, description string
	parent               string
	files                []inlineFile
	large                []hub.FileInfo // by digest; Size is -1 where none was said
	deleteFiles          []string
	deleteFolders        []string

	contents *spool
	count    int
}

// inlineFile is a file whose content came inside the commit, still encoded.
type inlineFile struct {
	path, encoding string
	content        spooled
}

// readOperations reads the lines of a commit, which hold at most limit bytes of
// content. What is too much for memory goes to a file in folder, until close.
func readOperations(r io.Reader, folder string, limit int64) (_ *operations, err error) {
	o := &operations{contents: &spool{folder: folder, left: limit}}
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
	content                                                               *spooled // nil if none was given
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
	return err
}

func (o *operations) field(l *lineReader, field string, op *operation) (err error) {
	switch field {
	case "content":
		op.content, err = o.contents.text(l) // the last one of two counts
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
	if key == "deletedFolder" {
		op.path = strings.Trim(op.path, "/")
	}
	if key != "header" {
		if err := hub.CheckPath(op.path); err != nil {
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
		if op.content == nil {
			return fmt.Errorf("%s: the file has no content", op.path)
		}
		if op.encoding != "base64" && op.encoding != "utf-8" && op.encoding != "" {
			return fmt.Errorf("%s: the encoding %q is unknown; use base64", op.path, clip(op.encoding))
		}
		o.files = append(o.files, inlineFile{op.path, op.encoding, *op.content})
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

// close removes what was spooled.
func (o *operations) close() { o.contents.close() }

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
