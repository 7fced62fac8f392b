package hub

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"lockstep/hub/internal/strictjson"
	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

const (
	recordFormat = "lockstep-commit-1"
	maxMessage   = 64 << 10
	maxFiles     = 10_000   // files of a commit
	maxRecord    = 16 << 20 // bytes of a commit file
)

// record is what a commit file says. Its encoding is canonical: one record has
// one sequence of bytes, and the commit's id is taken from them.
type record struct {
	parent  string
	message string
	files   []FileInfo // by path
}

// encode returns the commit file (FORMATS.md, "Commit file").
func (r record) encode() []byte {
	b := append([]byte(nil), "{\n  \"format\": "...)
	b = strictjson.AppendText(b, recordFormat)
	b = append(b, ",\n  \"parent\": "...)
	b = strictjson.AppendText(b, r.parent)
	b = append(b, ",\n  \"message\": "...)
	b = strictjson.AppendText(b, r.message)
	b = append(b, ",\n  \"files\": ["...)
	for i, f := range r.files {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, "\n    {\"path\": "...)
		b = strictjson.AppendText(b, f.Path)
		b = append(b, ", \"size\": "...)
		b = strictjson.AppendInt(b, f.Size)
		b = append(b, ", \"sha256\": "...)
		b = strictjson.AppendText(b, f.SHA256.String())
		b = append(b, '}')
	}
	return append(b, "\n  ]\n}\n"...)
}

// commitID is the first 160 bits of the SHA-256 of the commit file, in hex:
// clients of the Hub know commits as 40 hex digits.
func commitID(encoded []byte) string {
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:idDigits/2])
}

// decodeRecord reads a commit file. Anything but the canonical encoding of a
// valid record is an error.
func decodeRecord(data []byte) (record, error) {
	var r record
	if len(data) > maxRecord {
		return r, fmt.Errorf("%d bytes, at most %d are read", len(data), maxRecord)
	}
	j, err := strictjson.NewReader(data)
	if err != nil {
		return r, err
	}
	var format string
	err = j.Object(func(field string) (err error) {
		switch field {
		case "format":
			format, err = j.Text()
		case "parent":
			r.parent, err = j.Text()
		case "message":
			r.message, err = j.Text()
		case "files":
			r.files, err = readFiles(j)
		default:
			err = fmt.Errorf("unknown field %q", clip(field))
		}
		return err
	})
	if err == nil {
		err = j.End()
	}
	if err == nil && format != recordFormat {
		err = fmt.Errorf("format %q, this program reads %q", clip(format), recordFormat)
	}
	if err == nil {
		err = r.check()
	}
	if err == nil && !bytes.Equal(r.encode(), data) {
		err = fmt.Errorf("not in canonical form")
	}
	return r, err
}

func readFiles(j *strictjson.Reader) (files []FileInfo, err error) {
	err = j.Array(func() error {
		if len(files) == maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		var f FileInfo
		err := j.Object(func(field string) (err error) {
			switch field {
			case "path":
				f.Path, err = j.Text()
			case "size":
				f.Size, err = j.Int()
			case "sha256":
				var text string
				if text, err = j.Text(); err == nil {
					f.SHA256, err = merkle.ParseDigest(text)
				}
			default:
				err = fmt.Errorf("unknown field %q", clip(field))
			}
			return err
		})
		files = append(files, f)
		return err
	})
	return files, err
}

// check holds for every record that is written or read.
func (r record) check() error {
	switch {
	case r.parent != "" && !isCommitID(r.parent):
		return fmt.Errorf("the parent %q is not a commit id", clip(r.parent))
	case len(r.message) > maxMessage:
		return fault.Errorf(fault.Usage, "the message has %d bytes, at most %d are allowed", len(r.message), maxMessage)
	case !utf8.ValidString(r.message):
		return fault.Errorf(fault.Usage, "the message is not UTF-8")
	case len(r.files) > maxFiles:
		return fault.Errorf(fault.Usage, "%d files, at most %d are allowed in a commit", len(r.files), maxFiles)
	}
	for i, f := range r.files {
		if err := CheckPath(f.Path); err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		if before := r.files[i-1].Path; before >= f.Path {
			return fmt.Errorf("the paths %q and %q are out of order", clip(before), clip(f.Path))
		}
	}
	return r.checkFolders()
}

// checkFolders refuses a path that is a file and also a folder of others, since
// no file system could hold both.
func (r record) checkFolders() error {
	for _, f := range r.files {
		for at, c := range f.Path {
			if c != '/' {
				continue
			}
			if _, ok := r.find(f.Path[:at]); ok {
				return fault.Errorf(fault.Usage, "%q cannot be a file and the folder of %q", clip(f.Path[:at]), clip(f.Path))
			}
		}
	}
	return nil
}

// checkCase refuses paths that differ in case alone: many systems take them for
// one. It is asked of new commits only, others may have been made without it.
func (r record) checkCase() error {
	files := make(map[string]string, len(r.files)) // folded -> as it is
	for _, f := range r.files {
		folded := strings.ToLower(f.Path)
		if other, ok := files[folded]; ok {
			return fault.Errorf(fault.Usage, "%q and %q differ in case alone: some systems take them for one file", clip(other), clip(f.Path))
		}
		files[folded] = f.Path
	}
	for _, f := range r.files {
		for at, c := range f.Path {
			if c != '/' {
				continue
			}
			if other, ok := files[strings.ToLower(f.Path[:at])]; ok {
				return fault.Errorf(fault.Usage, "%q cannot be a file and, in other case, the folder of %q", clip(other), clip(f.Path))
			}
		}
	}
	return nil
}

// find looks a path up.
func (r record) find(path string) (FileInfo, bool) {
	i, ok := slices.BinarySearchFunc(r.files, path, func(f FileInfo, p string) int { return strings.Compare(f.Path, p) })
	if !ok {
		return FileInfo{}, false
	}
	return r.files[i], true
}

// apply returns the files of a commit on top of r. Deleting a path that is not
// there is an error. No path is named twice.
func (r record) apply(add []FileInfo, remove []string) ([]FileInfo, error) {
	named := make(map[string]bool, len(add)+len(remove))
	for _, path := range remove {
		if _, ok := r.find(path); !ok {
			return nil, &NotFoundError{What: "file", Name: path, Where: "delete"}
		}
		named[path] = true
	}
	for _, f := range add {
		named[f.Path] = true
	}
	files := slices.DeleteFunc(slices.Clone(r.files), func(f FileInfo) bool { return named[f.Path] })
	files = append(files, add...)
	slices.SortFunc(files, func(a, b FileInfo) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}
