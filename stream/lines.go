package stream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"lockstep/internal/merkle"
)

// maxRow is the longest row of a jsonl or txt file, in bytes.
const maxRow = 64 << 20

// byteOrderMark may stand at the head of a text file and is no text.
var byteOrderMark = []byte("\xEF\xBB\xBF")

// span is where a row lies in its file.
type span struct {
	offset int64
	length int32
	line   uint32 // of the file, from 1; for messages
}

// textFile is a jsonl or txt file: an index of its rows, made by reading the
// file once, and the digest of all its bytes, made by the same pass.
type textFile struct {
	disk    *disk
	index   []span
	content merkle.Digest
	decode  func(row []byte) (text string, null bool, err error)
}

// scan calls visit for each line of a file, without its line feed and valid
// during the call only, and returns the digest of the whole file.
func scan(ctx context.Context, d *disk, visit func(offset int64, number int, line []byte) error) (merkle.Digest, error) {
	file, err := d.open()
	if err != nil {
		return merkle.Digest{}, err
	}
	defer file.Close()
	hash := sha256.New()
	lines := bufio.NewReaderSize(io.TeeReader(file, hash), 1<<20)
	var long []byte // a line that is longer than the buffer
	offset, number := int64(0), 1
	for {
		part, err := lines.ReadSlice('\n')
		if len(long)+len(part) > maxRow {
			return merkle.Digest{}, lineDamage(d, number, fmt.Errorf("a line of more than %d MiB", maxRow>>20))
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return merkle.Digest{}, err
		}
		line := part
		if len(long) > 0 {
			line = append(long, part...)
			long = line[:0]
		}
		if len(line) > 0 {
			text := bytes.TrimSuffix(line, []byte("\n"))
			skip := 0
			if number == 1 && bytes.HasPrefix(text, byteOrderMark) {
				skip = len(byteOrderMark)
			}
			if err := visit(offset+int64(skip), number, text[skip:]); err != nil {
				return merkle.Digest{}, lineDamage(d, number, err)
			}
			offset, number = offset+int64(len(line)), number+1
		}
		if err != nil {
			break
		}
		if number%4096 == 0 && ctx.Err() != nil {
			return merkle.Digest{}, ctx.Err()
		}
	}
	if offset != d.size {
		return merkle.Digest{}, damage(d.path, "", errChanged)
	}
	return merkle.Digest(hash.Sum(nil)), nil
}

func lineDamage(d *disk, number int, err error) error {
	return damage(d.path, fmt.Sprintf("line %d", number), err)
}

// blank says whether a line holds nothing but white space.
func blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

// openJSONL opens a file with one JSON object per line. Blank lines are no
// rows. A line is parsed when its row is asked for, not before.
func openJSONL(ctx context.Context, d *disk) (reader, error) {
	t := &textFile{disk: d, decode: jsonText}
	content, err := scan(ctx, d, func(offset int64, number int, line []byte) error {
		if !blank(line) {
			t.index = append(t.index, span{offset, int32(len(line)), uint32(number)})
		}
		return nil
	})
	t.content = content
	return t, err
}

// paragraphs indexes the rows of a txt file.
type paragraphs struct {
	index []span
	open  bool // the last span may still grow
}

func (p *paragraphs) line(offset int64, number int, text []byte) error {
	if blank(text) {
		p.open = false
		return nil
	}
	end := offset + int64(len(bytes.TrimSuffix(text, []byte("\r"))))
	if !p.open {
		p.open = true
		p.index = append(p.index, span{offset: offset, line: uint32(number)})
	}
	last := &p.index[len(p.index)-1]
	if end-last.offset > maxRow {
		return fmt.Errorf("a paragraph of more than %d MiB began at line %d; rows end at blank lines", maxRow>>20, last.line)
	}
	last.length = int32(end - last.offset)
	return nil
}

// openTxt opens a file of plain text. A row is a paragraph: the lines between
// two blank ones, byte for byte, without the last line end. A whole file as one
// row would leave most folders with fewer rows than there are miners; a line as
// a row would cut sentences. Whoever wants other rows moves the blank lines.
func openTxt(ctx context.Context, d *disk) (reader, error) {
	var p paragraphs
	content, err := scan(ctx, d, p.line)
	if err != nil {
		return nil, err
	}
	plain := func(row []byte) (string, bool, error) { return string(row), false, nil }
	return &textFile{disk: d, index: p.index, content: content, decode: plain}, nil
}

func (t *textFile) rows() uint64          { return uint64(len(t.index)) }
func (t *textFile) size() int64           { return t.disk.size }
func (t *textFile) digest() merkle.Digest { return t.content }

func (t *textFile) text(_ context.Context, row uint64) (string, bool, error) {
	s := t.index[row]
	data, err := t.disk.Bytes(s.offset, int64(s.length))
	if err != nil {
		return "", false, lineDamage(t.disk, int(s.line), err)
	}
	text, null, err := t.decode(data)
	if err != nil {
		return "", false, lineDamage(t.disk, int(s.line), err)
	}
	return text, null, nil
}
