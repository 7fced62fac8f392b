//go:build !(amd64 || arm64 || loong64 || ppc64le || riscv64)

package commit

func encode(dst []byte, x []float32)                 { encodeGeneric(dst, x) }
func decode(dst []float32, src []byte) (finite bool) { return decodeGeneric(dst, src) }
