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
	if lines == full*w {
		return
	}
	dst = dst[full*w*k:][:w*k]
	x = x[full*w*line:]
	clear(dst)
	for i := range lines - full*w {
		for kk := range k {
			dst[kk*w+i] = x[i*line+kk*next]
		}
	}
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
		for kk := quads * 4; kk < k; kk++ {
			for i := range w {
				panel[kk*w+i] = x[(p*w+i)*line+kk]
			}
		}
	}
}
