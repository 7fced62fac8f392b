package f32

// Layout says which operands of a product are stored transposed. All matrices
// are row-major.
type Layout uint8

// The layouts of out (m, n) = A B. NN serves y = x W, NT serves dx = dy W^T and
// q k^T, TN serves dW = x^T dy.
const (
	NN Layout = iota // A stored (m, k), B stored (k, n)
	NT               // A stored (m, k), B stored (n, k)
	TN               // A stored (k, m), B stored (k, n)
)

// blockK is the number of consecutive k in one chain of N6.
const blockK = 1024

// MatMul computes out[i,j] = sum over k of A[i,k] B[k,j] for i < m, j < n as N6
// orders it: each block of 1024 consecutive k is one chain of fused
// multiply-adds over ascending k, starting at +0, and the blocks are added
// together in ascending order, the first one to +0. With accumulate the first
// one too is added to what out holds (N7).
//
// lda, ldb and ldc are the distances in elements between the rows of A, B and
// out as they are stored. Between the rows of out nothing is written. out must
// not overlap a or b. The result is the same for every ISA and number of
// threads. MatMul panics if a matrix does not fit its slice.
func MatMul(l Layout, out []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int, accumulate bool) {
	if m < 0 || n < 0 || k < 0 {
		panic("f32: MatMul: negative size")
	}
	p := products.take(newProduct)
	p.out, p.ldc, p.a, p.b = out, ldc, a, b
	p.m, p.n, p.k, p.accumulate = m, n, k, accumulate
	switch l {
	case NN:
		mustHold(a, lda, m, k)
		mustHold(b, ldb, k, n)
		p.aRow, p.aCol, p.bRow, p.bCol = lda, 1, ldb, 1
	case NT:
		mustHold(a, lda, m, k)
		mustHold(b, ldb, n, k)
		p.aRow, p.aCol, p.bRow, p.bCol = lda, 1, 1, ldb
	case TN:
		mustHold(a, lda, k, m)
		mustHold(b, ldb, k, n)
		p.aRow, p.aCol, p.bRow, p.bCol = 1, lda, ldb, 1
	default:
		panic("f32: MatMul: unknown layout")
	}
	mustHold(out, ldc, m, n)
	p.run()
	p.give()
}

// mustHold panics unless x holds a rows x cols matrix with stride ld.
func mustHold(x []float32, ld, rows, cols int) {
	if rows == 0 || cols == 0 {
		return
	}
	if ld < cols {
		panic("f32: MatMul: row stride less than row length")
	}
	if len(x) < cols || (len(x)-cols)/ld < rows-1 {
		panic("f32: MatMul: matrix longer than its slice")
	}
}

// product is one call of MatMul.
type product struct {
	out, a, b  []float32
	ldc        int
	aRow, aCol int // A[i,k] = a[i*aRow+k*aCol]
	bRow, bCol int // B[k,j] = b[k*bRow+j*bCol]
	m, n, k    int
	accumulate bool

	kernels             *kernels  // nil: the portable product
	packed              []float32 // the region of A in panels
	m0, rows, k0, kc    int       // the pass
	strips, stripWidth  int       // tasks along n, columns of each
	chunks, chunkRows   int       // tasks along m, rows of each
	genericTask         func(int) // the methods of these names, bound once
	packTask, stripTask func(int)

	vectors               *vectorKernels // of a product with one row
	rowsTask, columnsTask func(int)
}

var products freeList[product]

func newProduct() *product {
	p := new(product)
	p.genericTask, p.packTask, p.stripTask = p.genericStrip, p.packGroupOfA, p.multiplyStrip
	p.rowsTask, p.columnsTask = p.vectorRows, p.vectorColumnGroups
	return p
}

// give returns p for reuse, without holding on to the caller's memory.
func (p *product) give() {
	p.out, p.a, p.b, p.packed = nil, nil, nil, nil
	products.give(p)
}

// run computes the product.
func (p *product) run() {
	if p.m == 0 || p.n == 0 {
		return
	}
	if p.k == 0 {
		p.empty()
		return
	}
	if ks := vectorKernelsFor(Active()); ks != nil && p.m == 1 && p.aCol == 1 && p.n >= lanes {
		p.vector(ks)
		return
	}
	if ks := kernelsFor(Active(), p.n); ks != nil {
		p.tiled(ks)
		return
	}
	share(int64(p.m)*int64(p.n)*int64(p.k), ceilDiv(p.n, genericColumns), p.genericTask)
}

// empty is the product over no k: no block at all, so +0, or out unchanged.
func (p *product) empty() {
	for i := 0; i < p.m && !p.accumulate; i++ {
		clear(p.out[i*p.ldc:][:p.n])
	}
}

// share runs f(0), ..., f(n-1), in parallel if the work is worth it. The work is
// counted in multiply-adds.
func share(work int64, n int, f func(int)) {
	if work < tuned.inline {
		for i := range n {
			f(i)
		}
		return
	}
	Parallel(n, f)
}
