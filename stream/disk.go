package stream

import (
	"errors"
	"io"
	"os"
	"time"

	"lockstep/internal/fault"
)

// disk is a file that is opened for each read, so that a source of thousands of
// files holds no handles. It must keep its size and time of change while it is
// in use: rows are found by offsets that were read before.
type disk struct {
	path     string
	size     int64
	modified time.Time
}

var errChanged = errors.New("the file has changed since the source was opened")

// newDisk looks at the file behind path, through symbolic links.
func newDisk(path string) (*disk, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fault.Errorf(fault.Config, "data source: %s is not a regular file", path)
	}
	return &disk{path: path, size: info.Size(), modified: info.ModTime()}, nil
}

func (d *disk) open() (*os.File, error) {
	file, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && (info.Size() != d.size || !info.ModTime().Equal(d.modified)) {
		err = errChanged
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Bytes is parquet.Blob: exactly n bytes at offset.
func (d *disk) Bytes(offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 || offset > d.size-n {
		return nil, io.ErrUnexpectedEOF
	}
	file, err := d.open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p := make([]byte, n)
	_, err = file.ReadAt(p, offset)
	if errors.Is(err, io.EOF) {
		err = nil // a read up to the end of the file may say so
	}
	return p, err
}
