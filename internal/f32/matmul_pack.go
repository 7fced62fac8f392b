package f32

// packer cuts an operand into panels. A panel holds width lines - rows of A or
// columns of B - over a block of k, for each k the lines side by side. So a
// tile kernel reads its operands from front to back, whatever the layout.
type packer struct {
	width     int
	copy      func(dst *float32, dstPanel int, src *float32, srcRow, panels, k int)
	transpose func(dst *float32, dstRow int, src *float32, srcRow, quads int)
	step      int // lines that transpose takes at once
}

// pack packs lines lines of x over k; element k of line i is x[i*line+k*next],
// where line or next is 1. The last panel is filled up with +0.
func (c *packer) pack(dst, x []float32, line, next, lines, k int) {
	w := c.width
	full := lines / w
	switch {
	case full == 0:
	case line == 1:
		c.copy(&dst[0], w*k, &x[0], next, full, k)
	default:
		c.transposePanels(dst, x, line, full, k)
	}
	if rest := lines - full*w; rest > 0 {
		c.packRest(dst[full*w*k:][:w*k], x[full*w*line:], line, next, rest, k)
	}
}

// packRest packs the last panel, of fewer lines than its width. Either loop
// reads x from front to back.
func (c *packer) packRest(panel, x []float32, line, next, lines, k int) {
	w := c.width
	clear(panel)
	if line == 1 {
		for kk := range k {
			copy(panel[kk*w:][:lines], x[kk*next:])
		}
		return
	}
	quads := k / 4
	if lines < c.step {
		quads = 0
	}
	for i := 0; i < lines && quads > 0; i += c.step {
		i := min(i, lines-c.step) // the last ones begin earlier, and write what is there
		c.transpose(&panel[i], w, &x[i*line], line, quads)
	}
	transposeSteps(panel, w, x, line, lines, quads*4, k)
}

// transposePanels packs full panels of lines that are contiguous in x.
func (c *packer) transposePanels(dst, x []float32, line, panels, k int) {
	w := c.width
	quads := k / 4
	for p := range panels {
		panel := dst[p*w*k:][:w*k]
		for i := 0; i < w && quads > 0; i += c.step {
			c.transpose(&panel[i], w, &x[(p*w+i)*line], line, quads)
		}
		transposeSteps(panel, w, x[p*w*line:], line, w, quads*4, k)
	}
}

// transposeSteps packs steps k0 to k-1 of lines that are contiguous in x.
func transposeSteps(panel []float32, w int, x []float32, line, lines, k0, k int) {
	for i := range lines {
		for kk, v := range x[i*line:][:k][k0:] {
			panel[(k0+kk)*w+i] = v
		}
	}
}
