package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"lockstep/hub"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// sampleSize is how much of a file's start the server is shown to judge it by.
const sampleSize = 512

// measured is a content with what one reading of it tells.
type measured struct {
	hub.Content
	gitID  string
	sample []byte
}

// measure reads a content once. Nothing of it is kept but the sample.
func measure(ctx context.Context, c hub.Content) (measured, error) {
	g := &gauge{ctx: ctx, sum: sha256.New(), git: hub.NewGitID(c.Size), left: c.Size}
	if err := c.Write(g); err != nil {
		return measured{}, fmt.Errorf("%s: %w", c.Path, err)
	}
	sum := merkle.Digest(g.sum.Sum(nil))
	switch {
	case g.left != 0:
		return measured{}, fmt.Errorf("%s: %d bytes were promised, %d fewer were written", c.Path, c.Size, g.left)
	case !c.SHA256.IsZero() && c.SHA256 != sum:
		return measured{}, fmt.Errorf("%s: the content written has SHA-256 %s, %s was promised", c.Path, sum, c.SHA256)
	}
	c.SHA256 = sum
	return measured{c, fmt.Sprintf("%x", g.git.Sum(nil)), g.sample}, nil
}

// gauge hashes and counts.
type gauge struct {
	ctx      context.Context
	sum, git hash.Hash
	left     int64
	sample   []byte
}

func (g *gauge) Write(b []byte) (int, error) {
	if err := g.ctx.Err(); err != nil {
		return 0, err
	}
	if g.left -= int64(len(b)); g.left < 0 {
		return 0, errors.New("more bytes were written than promised")
	}
	if room := sampleSize - len(g.sample); room > 0 {
		g.sample = append(g.sample, b[:min(room, len(b))]...)
	}
	g.sum.Write(b)
	g.git.Write(b)
	return len(b), nil
}

// feed reads a content, which can only write itself, in sections that follow one
// another; going back starts it anew. So a file is sent in parts, and a part
// again, without being held in memory. A transport may still read a section that
// it has given up, so everything is behind a lock.
type feed struct {
	content hub.Content
	mu      sync.Mutex
	pipe    *io.PipeReader
	at      int64
	last    *section
}

// section returns a reader of size bytes from offset on; those before it end.
func (f *feed) section(offset, size int64) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pipe == nil || f.at > offset || f.last != nil && f.last.left > 0 {
		f.end()
		r, w := io.Pipe()
		go func() { w.CloseWithError(f.content.Write(w)) }()
		f.pipe, f.at = r, 0
	}
	n, err := io.CopyN(io.Discard, f.pipe, offset-f.at)
	f.at += n
	if err != nil {
		return nil, fault.Wrap(fault.Environment, fmt.Errorf("%s: reading it again: %w", f.content.Path, err))
	}
	f.last = &section{f, f.pipe, size}
	return f.last, nil
}

// close ends the writing.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end()
}

func (f *feed) end() {
	if f.pipe != nil {
		f.pipe.CloseWithError(errSuperseded)
		f.pipe, f.last = nil, nil
	}
}

// errSuperseded is what a section that was given up reads.
var errSuperseded = errors.New("this part is sent anew")

type section struct {
	feed *feed
	pipe *io.PipeReader
	left int64
}

func (s *section) Read(p []byte) (int, error) {
	s.feed.mu.Lock()
	left := s.left
	s.feed.mu.Unlock()
	if left == 0 {
		return 0, io.EOF
	}
	n, err := s.pipe.Read(p[:min(int64(len(p)), left)])
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	s.left -= int64(n)
	if s.feed.last == s {
		s.feed.at += int64(n)
	}
	if err == io.EOF && s.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close unblocks the writer of a section that was not read to its end.
func (s *section) Close() error {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	if s.left > 0 && s.feed.last == s {
		s.feed.end()
	}
	return nil
}
