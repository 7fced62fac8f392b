package stream

import "lockstep/stream/corpus"

// FileInfo is a file of a source, as a person lists it.
type FileInfo struct {
	Name  string `json:"name"`
	First uint64 `json:"first_row"` // number of its first row in the source
	Rows  uint64 `json:"rows"`
	Size  int64  `json:"size"` // bytes; 0 where there is no file
}

// Files lists what a source that Open returned is made of, in the order of its
// rows.
func Files(src Source) []FileInfo {
	switch s := src.(type) {
	case *folder:
		files := make([]FileInfo, len(s.files))
		for i, l := range s.files {
			r := s.readers[i]
			files[i] = FileInfo{Name: l.name, First: s.ends[i] - r.rows(), Rows: r.rows(), Size: r.size()}
		}
		return files
	case *hubSource:
		files := make([]FileInfo, len(s.files))
		for i, f := range s.files {
			files[i] = FileInfo{Name: f.Path, First: s.ends[i] - s.heads[i].Rows, Rows: s.heads[i].Rows, Size: f.Size}
		}
		return files
	case *rowsSource:
		return []FileInfo{{Name: s.config + "/" + s.split, Rows: s.Rows()}}
	}
	return []FileInfo{{Name: corpus.Name, Rows: src.Rows()}}
}
