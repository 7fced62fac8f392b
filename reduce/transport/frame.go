package transport

import (
	"encoding/binary"
	"hash/crc32"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
)

// A frame is a header of 40 bytes and its payload. All integers are
// little-endian; FORMATS.md draws it.
const (
	frameMagic   = 0x3152414c // "LAR1"
	frameVersion = 1
	headerSize   = 40
)

// frameType says which message a frame carries.
type frameType uint8

const (
	frameRoster frameType = iota + 1
	frameCommitment
	frameSet
	frameOpening
	frameChunk
	frameReceipt
	frameCredit
	frameVote
	frameComplaint
	frameEvidence
	frameDecision
	framePing  // says nothing but that its sender is there
	frameTypes // one more than the last
)

// frameHeader is what stands in front of every payload.
type frameHeader struct {
	kind     frameType
	length   uint32
	roster   [8]byte // first bytes of the roster's digest
	chunk    uint32  // of a chunk message, else 0
	checksum uint32  // CRC-32C of the payload
	sequence uint32  // counts the frames of a connection from 0
}

// append writes the header, its own checksum last.
func (h frameHeader) append(b []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, frameMagic)
	b = append(b, frameVersion, byte(h.kind), 0, 0)
	b = binary.LittleEndian.AppendUint32(b, h.length)
	b = append(b, h.roster[:]...)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, h.chunk)
	b = binary.LittleEndian.AppendUint32(b, h.checksum)
	b = binary.LittleEndian.AppendUint32(b, h.sequence)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseHeader reads a header of exactly headerSize bytes. Every field that has
// one legal value is checked.
func parseHeader(b []byte) (frameHeader, error) {
	u32 := binary.LittleEndian.Uint32
	switch {
	case u32(b) != frameMagic || b[4] != frameVersion:
		return frameHeader{}, fault.Errorf(fault.Damaged, "frame: this is not a frame of version %d", frameVersion)
	case u32(b[36:]) != crc32.Checksum(b[:36], castagnoli):
		return frameHeader{}, fault.Errorf(fault.Damaged, "frame: the header's checksum is wrong")
	case b[5] == 0 || frameType(b[5]) >= frameTypes || u32(b[6:])&0xffff != 0 || u32(b[20:]) != 0:
		return frameHeader{}, fault.Errorf(fault.Damaged, "frame: type %d with flags %x", b[5], b[6:8])
	}
	h := frameHeader{kind: frameType(b[5]), length: u32(b[8:]), chunk: u32(b[24:]), checksum: u32(b[28:]), sequence: u32(b[32:])}
	copy(h.roster[:], b[12:20])
	if h.kind == framePing && h != (frameHeader{kind: framePing, sequence: h.sequence}) {
		return frameHeader{}, fault.Errorf(fault.Damaged, "frame: a ping that says something")
	}
	return h, nil
}

// prefix returns the part of a roster's digest that headers carry.
func prefix(d merkle.Digest) (p [8]byte) {
	copy(p[:], d[:])
	return p
}
