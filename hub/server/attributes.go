package server

import (
	"path"
	"slices"
	"strings"
)

// lfsExtensions are the kinds of files that are large as a rule; the first
// commit of a repository says so in .gitattributes.
var lfsExtensions = []string{
	"7z", "arrow", "bin", "bz2", "ckpt", "ftz", "gz", "h5", "joblib", "lfs.*", "mlmodel", "model", "msgpack", "npy", "npz", "onnx",
	"ot", "parquet", "pb", "pickle", "pkl", "pt", "pth", "rar", "safetensors", "tar", "tflite", "tgz", "wasm", "xz", "zip", "zst",
}

// maxRegular is the size above which any file is a large one.
const maxRegular = 10 << 20

// attributes is the default .gitattributes.
func attributes() []byte {
	var b strings.Builder
	for _, e := range lfsExtensions {
		b.WriteString("*." + e + " filter=lfs diff=lfs merge=lfs -text\n")
	}
	return []byte(b.String())
}

// isLFS reports whether a file counts as a large one: its digest is then its
// SHA-256, and git would see a pointer. It depends on name and size alone, so
// that the answer before an upload holds for the stored file ever after.
func isLFS(file string, size int64) bool {
	ext := strings.TrimPrefix(path.Ext(file), ".")
	return size > maxRegular || size > 0 && slices.Contains(lfsExtensions, ext)
}
