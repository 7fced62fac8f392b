package parquet

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// readable lists the codecs of unpack.
func readable(codec format.CompressionCodec) bool {
	return codec == format.Uncompressed || codec == format.Snappy || codec == format.Zstd
}

// zstdReader unpacks frames into the memory that it is given and not a byte
// more: neither the size nor the window that a frame claims is believed.
var zstdReader = func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxPage))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}()

// unpack returns the size bytes that packed must hold.
func unpack(codec format.CompressionCodec, packed []byte, size int64) ([]byte, error) {
	var plain []byte
	var err error
	switch codec {
	case format.Uncompressed:
		plain = packed
	case format.Snappy:
		// The block begins with its length; a decoder would allocate what it says.
		if n, width := binary.Uvarint(packed); width <= 0 || n != uint64(size) {
			return nil, fmt.Errorf("a SNAPPY block that unpacks to %d bytes, where the page header says %d", n, size)
		}
		plain, err = snappy.Decode(make([]byte, size), packed)
	case format.Zstd:
		plain, err = zstdReader.DecodeAll(packed, make([]byte, 0, size))
	}
	if err != nil {
		return nil, fmt.Errorf("%s data cannot be unpacked to %d bytes: %w", codec, size, err)
	}
	if int64(len(plain)) != size {
		return nil, fmt.Errorf("%s data that unpack to %d bytes, where the page header says %d", codec, len(plain), size)
	}
	return plain, nil
}
