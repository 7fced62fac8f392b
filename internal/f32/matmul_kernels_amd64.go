package f32

var kernelsAVX2 = kernels{
	a:    packer{width: 6, copy: copyPanels6AVX2, transpose: transpose6AVX2, step: 6},
	b:    packer{width: 16, copy: copyPanels16AVX2, transpose: transpose8AVX2, step: 8},
	tile: []tileKernel{tile1AVX2, tile2AVX2, tile3AVX2, tile4AVX2, tile5AVX2, tile6AVX2},
	half: []tileKernel{half1AVX2, half2AVX2, half3AVX2, half4AVX2, half5AVX2, half6AVX2},
}

var kernelsAVX512 = kernels{
	a: packer{width: 12, copy: copyPanels12AVX2, transpose: transpose6AVX2, step: 6},
	b: packer{width: 32, copy: copyPanels32AVX2, transpose: transpose8AVX2, step: 8},
	tile: []tileKernel{
		tile1AVX512, tile2AVX512, tile3AVX512, tile4AVX512, tile5AVX512, tile6AVX512,
		tile7AVX512, tile8AVX512, tile9AVX512, tile10AVX512, tile11AVX512, tile12AVX512,
	},
	half: []tileKernel{
		half1AVX512, half2AVX512, half3AVX512, half4AVX512, half5AVX512, half6AVX512,
		half7AVX512, half8AVX512, half9AVX512, half10AVX512, half11AVX512, half12AVX512,
	},
}

// kernelsFor chooses the kernels for a product with n columns, or nil for the
// portable product. Up to 16 columns would leave half of each AVX-512 tile idle.
func kernelsFor(isa ISA, n int) *kernels {
	switch {
	case isa == AVX512 && n > kernelsAVX2.b.width:
		return &kernelsAVX512
	case isa == AVX512 || isa == AVX2:
		return &kernelsAVX2
	}
	return nil
}

var (
	vectorsAVX2   = vectorKernels{rows: rowChainsAVX2, columns: columnChainsAVX2}
	vectorsAVX512 = vectorKernels{rows: rowChainsAVX512, columns: columnChainsAVX512}
)

// vectorKernelsFor chooses the kernels for a product with one row, or nil.
func vectorKernelsFor(isa ISA) *vectorKernels {
	switch isa {
	case AVX512:
		return &vectorsAVX512
	case AVX2:
		return &vectorsAVX2
	}
	return nil
}
