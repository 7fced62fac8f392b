package f32

var kernelsNEON = kernels{
	a: packer{width: 12, copy: copyPanels12NEON, transpose: transpose4NEON, step: 4},
	b: packer{width: 8, copy: copyPanels8NEON, transpose: transpose4NEON, step: 4},
	tile: []tileKernel{
		tile1NEON, tile2NEON, tile3NEON, tile4NEON, tile5NEON, tile6NEON,
		tile7NEON, tile8NEON, tile9NEON, tile10NEON, tile11NEON, tile12NEON,
	},
	half: []tileKernel{
		half1NEON, half2NEON, half3NEON, half4NEON, half5NEON, half6NEON,
		half7NEON, half8NEON, half9NEON, half10NEON, half11NEON, half12NEON,
	},
}

// kernelsFor chooses the kernels for a product, or nil for the portable one.
func kernelsFor(isa ISA, _ int) *kernels {
	if isa == NEON {
		return &kernelsNEON
	}
	return nil
}

var vectorsNEON = vectorKernels{rows: rowChainsNEON, columns: columnChainsNEON}

// vectorKernelsFor chooses the kernels for a product with one row, or nil.
func vectorKernelsFor(isa ISA) *vectorKernels {
	if isa == NEON {
		return &vectorsNEON
	}
	return nil
}
