//go:build !amd64 && !arm64

package f32

// Without assembly every kernel is its definition.

func expSlice(y, x []float32)                           { expSliceGeneric(y, x) }
func geluForward(y, x []float32)                        { geluForwardGeneric(y, x) }
func geluBackward(dx, dy, x []float32)                  { geluBackwardGeneric(dx, dy, x) }
func sum(x []float32) float32                           { return sumGeneric(x) }
func dot(x, y []float32) float32                        { return dotGeneric(x, y) }
func sumSquares(x []float32) float64                    { return sumSquaresGeneric(x) }
func maximum(x []float32) float32                       { return maximumGeneric(x) }
func expStore(e, s []float32, m float32) float32        { return expStoreGeneric(e, s, m) }
func expTotal(s []float32, m float32) float32           { return expTotalGeneric(s, m) }
func softmaxGrad(ds, p, dp []float32, d, scale float32) { softmaxGradGeneric(ds, p, dp, d, scale) }
func squaresAbout(x []float32, mean float32) float32    { return squaresAboutGeneric(x, mean) }
func normalize(y, x, gamma, beta []float32, mean, rstd float32) {
	normalizeGeneric(y, x, gamma, beta, mean, rstd)
}
func normalizeSums(dy, x, gamma []float32, mean, rstd float32) (s1, s2 float32) {
	return normalizeSumsGeneric(dy, x, gamma, mean, rstd)
}
func normalizeGrad(dx, dy, x, gamma []float32, mean, rstd, a, b float32) {
	normalizeGradGeneric(dx, dy, x, gamma, mean, rstd, a, b)
}
func normalizeParams(t, dy, x []float32, mean, rstd float32) {
	normalizeParamsGeneric(t, dy, x, mean, rstd)
}
func add(dst, x, y []float32)                             { addGeneric(dst, x, y) }
func scale(dst, x []float32, s float32)                   { scaleGeneric(dst, x, s) }
func adamW(theta, m, v, g []float32, c *AdamW)            { adamWGeneric(theta, m, v, g, c) }
func finiteBlocks(x []float32) int                        { return finiteBlocksGeneric(x) }
func addFloat64(acc []float64, x []float32)               { addFloat64Generic(acc, x) }
func divideRound(out []float32, acc []float64, n float64) { divideRoundGeneric(out, acc, n) }
