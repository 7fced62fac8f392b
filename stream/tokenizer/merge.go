package tokenizer

// ranks are the tokens by their bytes. A token's rank is its id: merging two
// tokens is allowed when their joint bytes are a token, lower ranks go first,
// the leftmost of equal ranks before the others.
type ranks map[string]int

// noRank stands where a pair cannot be merged. It is above every rank.
const noRank = 1<<31 - 1

// merger merges one piece in O(n log n): a linked list of the parts, and a heap
// of the pairs that may be merged. The loop that it replaces looks for the
// lowest pair by reading all of them, n times. The zero value needs ranks and
// longest; its memory is used again from piece to piece.
type merger struct {
	ranks   ranks
	longest int // bytes of the longest token

	piece string
	next  []int32 // by the offset of a part: offset of the part behind it
	prev  []int32 // offset of the part before it, or -1
	pair  []int32 // rank of the part joined with the one behind it, or noRank
	heap  pairHeap
}

// encode appends the tokens of piece to ids. A piece that is a token is that
// token. Every single byte must be a token.
func (m *merger) encode(ids []int32, piece string) []int32 {
	if id, ok := m.ranks[piece]; ok {
		return append(ids, int32(id))
	}
	return m.parts(ids, piece, noRank)
}

// parts appends the tokens of piece to ids, merging only below rank limit.
func (m *merger) parts(ids []int32, piece string, limit int32) []int32 {
	m.start(piece, limit)
	for len(m.heap) > 0 {
		rank, at := m.heap.pop()
		if m.pair[at] != rank {
			continue // the pair has changed since
		}
		behind := m.next[at]
		m.pair[behind] = noRank
		m.next[at] = m.next[behind]
		if end := m.next[at]; int(end) < len(piece) {
			m.prev[end] = at
		}
		m.rank(at, limit)
		if before := m.prev[at]; before >= 0 {
			m.rank(before, limit)
		}
	}
	for at := int32(0); int(at) < len(piece); at = m.next[at] {
		ids = append(ids, int32(m.ranks[piece[at:m.next[at]]]))
	}
	return ids
}

// start cuts piece into bytes and ranks all pairs.
func (m *merger) start(piece string, limit int32) {
	n := len(piece)
	if cap(m.next) < n {
		m.next, m.prev, m.pair = make([]int32, n), make([]int32, n), make([]int32, n)
	}
	m.piece, m.heap = piece, m.heap[:0]
	m.next, m.prev, m.pair = m.next[:n], m.prev[:n], m.pair[:n]
	for i := range n {
		m.next[i], m.prev[i] = int32(i+1), int32(i-1)
	}
	for i := range n {
		m.rank(int32(i), limit)
	}
}

// rank looks up the pair that begins at the part at, and offers it to the heap.
// Distinct pairs of one part have distinct bytes, hence distinct ranks, so an
// entry of the heap is alive exactly if its rank is still the pair's.
func (m *merger) rank(at, limit int32) {
	m.pair[at] = noRank
	behind := int(m.next[at])
	if behind >= len(m.piece) {
		return
	}
	end := int(m.next[behind])
	if end-int(at) > m.longest {
		return
	}
	if r, ok := m.ranks[m.piece[at:end]]; ok && int32(r) < limit {
		m.pair[at] = int32(r)
		m.heap.push(int32(r), at)
	}
}

// pairHeap is a binary heap of (rank, offset), lowest rank first, leftmost of
// equals first. Both fit one integer, rank above.
type pairHeap []uint64

func (h *pairHeap) push(rank, at int32) {
	s := append(*h, uint64(rank)<<32|uint64(at))
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if s[parent] <= s[i] {
			break
		}
		s[parent], s[i] = s[i], s[parent]
		i = parent
	}
	*h = s
}

func (h *pairHeap) pop() (rank, at int32) {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if right := child + 1; right < last && s[right] < s[child] {
			child = right
		}
		if s[i] <= s[child] {
			break
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
	*h = s
	return int32(top >> 32), int32(uint32(top))
}
