package f32

// detect lists the ISAs beyond Portable. Every 64-bit Arm processor that runs
// Go has NEON, and it keeps subnormals unless a foreign library sets FPCR
// otherwise, which [SelfTest] would notice.
func detect() []ISA { return []ISA{NEON} }
