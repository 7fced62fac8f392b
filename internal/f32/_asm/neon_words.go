package main

import "fmt"

// Go's assembler has no names for the vector forms of most floating-point
// instructions, so these are written as words, with the name beside them in the
// syntax of GNU's disassembler. Encodings are from the Arm Architecture
// Reference Manual, C7.2; registers: d in bits 0-4, n in bits 5-9, m in 16-20.
const (
	wordFADD   = 0x4E20D400 // fadd   d.4s, n.4s, m.4s
	wordFSUB   = 0x4EA0D400 // fsub   d.4s, n.4s, m.4s
	wordFMUL   = 0x6E20DC00 // fmul   d.4s, n.4s, m.4s
	wordFDIV   = 0x6E20FC00 // fdiv   d.4s, n.4s, m.4s
	wordFSQRT  = 0x6EA1F800 // fsqrt  d.4s, n.4s
	wordFNEG   = 0x6EA0F800 // fneg   d.4s, n.4s
	wordFCMGT  = 0x6EA0E400 // fcmgt  d.4s, n.4s, m.4s: ones where n > m
	wordFCMGE  = 0x6E20E400 // fcmge  d.4s, n.4s, m.4s: ones where n >= m
	wordBIC    = 0x4E601C00 // bic    d.16b, n.16b, m.16b: n and not m
	wordSSHR   = 0x4F210400 // sshr   d.4s, n.4s, #31
	wordFMLA   = 0x4F801000 // fmla   d.4s, n.4s, m.s[0]: d + n m, fused
	wordFADDD  = 0x4E60D400 // fadd   d.2d, n.2d, m.2d
	wordFDIVD  = 0x6E60FC00 // fdiv   d.2d, n.2d, m.2d
	wordFCVTL  = 0x0E617800 // fcvtl  d.2d, n.2s: to float64, exact
	wordFCVTL2 = 0x4E617800 // fcvtl2 d.2d, n.4s
	wordFCVTN  = 0x0E616800 // fcvtn  d.2s, n.2d: to float32, to nearest even
	wordFCVTN2 = 0x4E616800 // fcvtn2 d.4s, n.2d
)

// wordOp emits a word; regs are d, n and m, as in text.
func (f *neonFunction) wordOp(word uint32, text string, regs ...register) {
	f.code = append(f.code, neonInstruction{text: text, regs: neonRegisters(regs), isWord: true, word: word})
}

// encode enters the registers' numbers into the word.
func (i neonInstruction) encode(numbers map[neonRegister]int) uint32 {
	word := i.word
	for p, r := range i.regs {
		word |= uint32(numbers[r]) << [...]int{0, 5, 16}[p]
	}
	return word
}

// three emits a word with three operands of four float32 lanes.
func (f *neonFunction) three(word uint32, name string, d, n, m register) {
	f.wordOp(word, name+" v{0}.4s, v{1}.4s, v{2}.4s", d, n, m)
}

// fmlaLane emits d = d + n m[lane], fused, all lanes of n by one of m.
func (f *neonFunction) fmlaLane(d, n, m register, lane int) {
	high, low := uint32(lane>>1), uint32(lane&1)
	f.wordOp(wordFMLA|low<<21|high<<11, fmt.Sprintf("fmla v{0}.4s, v{1}.4s, v{2}.s[%d]", lane), d, n, m)
}
