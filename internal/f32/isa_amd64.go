package f32

import "golang.org/x/sys/cpu"

// detect lists the ISAs beyond Portable, slowest first. x/sys/cpu also asks
// the operating system whether it saves the wide registers.
func detect() []ISA {
	var isas []ISA
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		isas = append(isas, AVX2)
		if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
			isas = append(isas, AVX512)
		}
	}
	return isas
}
