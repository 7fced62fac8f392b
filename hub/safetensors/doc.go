// Package safetensors reads and writes the file format in which the Hugging
// Face world keeps weights. It is for float32 networks: it lists every element
// type of the format, reads the four floating-point ones that convert to
// float32 (F64, F32, F16, BF16), and writes F32 only.
//
// # The file
//
//	u64 N | N bytes of JSON | tensors, end to end
//
// The JSON object maps each tensor's name to its element type, its shape and
// the half-open range of its bytes, counted from the end of the header. Arrays
// are row-major and little-endian. The key __metadata__ holds strings only.
//
// # Reading
//
// Files come from strangers, so [Open] checks all of the header before it
// allocates for any tensor, and refuses what other readers let pass: duplicate
// keys, holes, overlaps, bytes that no tensor owns. Each way of being wrong has
// one [Defect], and each [Error] names file, tensor and remedy. [File.Read] then
// reads into the caller's memory, several pieces at a time, without a second
// copy.
//
// # Writing
//
// Equal tensors and metadata give equal bytes, on every machine: see [Encoder].
package safetensors
