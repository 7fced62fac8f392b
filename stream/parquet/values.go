package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The encodings of https://parquet.apache.org/docs/file-format/data-pages/encodings/.
// Each decoder is told how many values there must be.

// plain decodes PLAIN: a length as u32 before each text.
func plain(data []byte, n int) ([]string, error) {
	if n > len(data)/4 {
		return nil, errCut
	}
	all := string(data) // one copy, which the texts share
	texts := make([]string, n)
	at := 0
	for i := range texts {
		if len(data)-at < 4 {
			return nil, errCut
		}
		length := binary.LittleEndian.Uint32(data[at:])
		at += 4
		if uint64(length) > uint64(len(data)-at) {
			return nil, fmt.Errorf("a text of %d bytes, where %d are left", length, len(data)-at)
		}
		texts[i] = all[at : at+int(length)]
		at += int(length)
	}
	return texts, nil
}

// lookUp decodes RLE_DICTIONARY: the width of an entry's number in bits, then
// numbers as a hybrid.
func lookUp(entries []string, data []byte, n int) ([]string, error) {
	if n == 0 {
		return nil, nil
	}
	if len(data) == 0 {
		return nil, errCut
	}
	numbers, err := hybrid(data[1:], int(data[0]), n)
	if err != nil {
		return nil, err
	}
	texts := make([]string, n)
	for i, number := range numbers {
		if uint64(number) >= uint64(len(entries)) {
			return nil, fmt.Errorf("entry %d of a dictionary of %d", number, len(entries))
		}
		texts[i] = entries[number]
	}
	return texts, nil
}

// hybrid decodes n numbers of width bits in runs: a run's header is a varint
// whose lowest bit says whether groups of eight numbers follow, packed from the
// lowest bit up, or one number that is repeated. The last group may be padded.
func hybrid(data []byte, width, n int) ([]uint32, error) {
	if width > 32 {
		return nil, fmt.Errorf("numbers of %d bits", width)
	}
	numbers := make([]uint32, 0, n)
	for len(numbers) < n {
		header, size := binary.Uvarint(data)
		if size <= 0 {
			return nil, errCut
		}
		data = data[size:]
		left := n - len(numbers)
		if header&1 == 0 {
			bytes := (width + 7) / 8
			if len(data) < bytes || header == 0 {
				return nil, errCut
			}
			var word [4]byte
			copy(word[:], data[:bytes])
			data = data[bytes:]
			value := binary.LittleEndian.Uint32(word[:])
			for range int(min(header>>1, uint64(left))) {
				numbers = append(numbers, value)
			}
			continue
		}
		groups := header >> 1
		if groups == 0 || width > 0 && groups > uint64(len(data)/width) {
			return nil, errCut
		}
		run := int(min(uint64(left), 8*min(groups, uint64(left))))
		for i := range run {
			numbers = append(numbers, bits(data, i*width, width))
		}
		if width > 0 {
			data = data[int(groups)*width:]
		}
	}
	return numbers, nil
}

// bits returns width bits, at most 32, from bit at on.
func bits(data []byte, at, width int) uint32 {
	var v uint64
	for i := at / 8; i <= (at+width-1)/8 && width > 0; i++ {
		v |= uint64(data[i]) << (8 * (i - at/8))
	}
	return uint32(v >> (at % 8) & (1<<width - 1))
}

// deltaLength decodes DELTA_LENGTH_BYTE_ARRAY: all lengths, then all texts.
func deltaLength(data []byte, n int) ([]string, error) {
	lengths, rest, err := deltaInts(data, n)
	if err != nil {
		return nil, fmt.Errorf("lengths: %w", err)
	}
	all := string(rest)
	texts := make([]string, n)
	at := 0
	for i, length := range lengths {
		if length < 0 || int64(length) > int64(len(all)-at) {
			return nil, fmt.Errorf("a text of %d bytes, where %d are left", length, len(all)-at)
		}
		texts[i] = all[at : at+int(length)]
		at += int(length)
	}
	return texts, nil
}

// deltaStrings decodes DELTA_BYTE_ARRAY: how many bytes each text has in common
// with the one before, then the rest of each as DELTA_LENGTH_BYTE_ARRAY. Few
// bytes may stand for very many, so the sum is taken first.
func deltaStrings(data []byte, n int) ([]string, error) {
	prefixes, rest, err := deltaInts(data, n)
	if err != nil {
		return nil, fmt.Errorf("prefixes: %w", err)
	}
	suffixes, err := deltaLength(rest, n)
	if err != nil {
		return nil, err
	}
	total, before := int64(0), int64(0)
	for i, p := range prefixes {
		if p < 0 || int64(p) > before {
			return nil, fmt.Errorf("a prefix of %d bytes of a text of %d", p, before)
		}
		before = int64(p) + int64(len(suffixes[i]))
		if total += before; total > maxPage {
			return nil, fmt.Errorf("texts of more than %d MiB in one page", maxPage>>20)
		}
	}
	all := make([]byte, 0, total)
	start := 0
	for i, p := range prefixes {
		next := len(all)
		all = append(all, all[start:start+int(p)]...)
		all = append(all, suffixes[i]...)
		start = next
	}
	return split(string(all), prefixes, suffixes), nil
}

// split cuts joined texts apart by the lengths of their two parts.
func split(all string, prefixes []int32, suffixes []string) []string {
	texts := make([]string, len(prefixes))
	for i, p := range prefixes {
		n := int(p) + len(suffixes[i])
		texts[i], all = all[:n], all[n:]
	}
	return texts
}

var errDelta = errors.New("numbers in DELTA_BINARY_PACKED that no writer writes")

// deltaInts decodes DELTA_BINARY_PACKED, which must hold n numbers, and returns
// what follows it: size of a block, mini-blocks in it, numbers in all, the first
// number; then blocks of a smallest difference, the mini-blocks' widths in bits,
// and the differences above the smallest.
func deltaInts(data []byte, n int) ([]int32, []byte, error) {
	d := deltaReader{data: data}
	block, minis, total := d.unsigned(), d.unsigned(), d.unsigned()
	value := d.signed()
	switch {
	case d.failed:
		return nil, nil, errCut
	case block == 0 || block%128 != 0 || block > 1<<16 || minis == 0 || minis > block/32 || block%minis != 0 || (block/minis)%32 != 0:
		return nil, nil, fmt.Errorf("%w: blocks of %d in %d parts", errDelta, block, minis)
	case total != uint64(n):
		return nil, nil, fmt.Errorf("%d numbers for %d values", total, n)
	case n == 0:
		return nil, d.data, nil
	}
	numbers := make([]int32, 0, n)
	numbers = append(numbers, int32(value))
	each := int(block / minis)
	for len(numbers) < n {
		least := d.signed()
		widths := d.take(int(minis))
		for _, width := range widths {
			if len(numbers) == n {
				break // the mini-blocks behind the last number are not there
			}
			if width > 32 {
				return nil, nil, fmt.Errorf("%w: differences of %d bits", errDelta, width)
			}
			packed := d.take(each * int(width) / 8)
			if d.failed {
				return nil, nil, errCut
			}
			for i := range min(each, n-len(numbers)) {
				value += least + int64(bits(packed, i*int(width), int(width)))
				numbers = append(numbers, int32(value))
			}
		}
		if d.failed {
			return nil, nil, errCut
		}
	}
	return numbers, d.data, nil
}

// deltaReader takes bytes from the front; failed stays once they ran out.
type deltaReader struct {
	data   []byte
	failed bool
}

func (d *deltaReader) unsigned() uint64 {
	v, n := binary.Uvarint(d.data)
	d.failed = d.failed || n <= 0
	d.take(n)
	return v
}

func (d *deltaReader) signed() int64 {
	u := d.unsigned() // zigzag: the sign is the lowest bit
	return int64(u>>1) ^ -int64(u&1)
}

func (d *deltaReader) take(n int) []byte {
	if d.failed = d.failed || n < 0 || n > len(d.data); d.failed {
		return nil
	}
	taken := d.data[:n]
	d.data = d.data[n:]
	return taken
}
