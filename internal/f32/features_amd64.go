package f32

import "golang.org/x/sys/cpu"

// Features lists the processor's extensions that bear on speed here, as far as
// the operating system lets them be used.
func Features() []string {
	var have []string
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx", cpu.X86.HasAVX}, {"avx2", cpu.X86.HasAVX2}, {"fma", cpu.X86.HasFMA},
		{"avx512f", cpu.X86.HasAVX512F}, {"avx512bw", cpu.X86.HasAVX512BW},
		{"avx512dq", cpu.X86.HasAVX512DQ}, {"avx512vl", cpu.X86.HasAVX512VL},
	} {
		if f.has {
			have = append(have, f.name)
		}
	}
	return have
}
