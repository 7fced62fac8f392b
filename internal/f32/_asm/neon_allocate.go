package main

import (
	"fmt"
	"sort"
)

// general registers that an assembly function may use: R16 and R17 belong to
// the linker, R18 to the platform, and R26 on to Go.
var generalRegisters = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 19, 20, 21, 22, 23, 24, 25}

// span is the part of the code in which a virtual register holds a value.
type span struct {
	register    neonRegister
	first, last int
}

// allocate gives every virtual register a number, by a linear scan over the
// spans. It never spills: a kernel that needs more registers than there are is
// a mistake of the template's author.
func allocate(code []neonInstruction) map[neonRegister]int {
	free := map[bool][]int{false: generalRegisters}
	for v := range 32 {
		free[true] = append(free[true], v)
	}
	numbers := map[neonRegister]int{}
	var live []span
	for _, s := range spans(code) {
		kept := live[:0]
		for _, other := range live {
			// A source's register may become the destination of the same line.
			if other.last < s.first || other.last == s.first && other.first < s.first {
				file := other.register.vector
				free[file] = append([]int{numbers[other.register]}, free[file]...)
				continue
			}
			kept = append(kept, other)
		}
		live = kept
		pool := free[s.register.vector]
		if len(pool) == 0 {
			panic(fmt.Sprintf("asm: out of registers at line %d: %s", s.first, code[s.first].text))
		}
		numbers[s.register] = pool[0]
		free[s.register.vector] = pool[1:]
		live = append(live, s)
	}
	return numbers
}

// spans returns the span of every register, by the first line that mentions it.
// What enters a loop from above and is used in it lives to the loop's end.
func spans(code []neonInstruction) []span {
	at := map[neonRegister]*span{}
	labels := map[string]int{}
	for line, i := range code {
		if i.label != "" {
			labels[i.label] = line
		}
		for _, r := range i.regs {
			if at[r] == nil {
				at[r] = &span{register: r, first: line}
			}
			at[r].last = line
		}
	}
	for changed := true; changed; {
		changed = false
		for end, i := range code {
			start, ok := labels[i.target]
			if i.target == "" || !ok || start > end {
				continue
			}
			for _, s := range at {
				if s.first < start && s.last >= start && s.last < end {
					s.last = end
					changed = true
				}
			}
		}
	}
	all := make([]span, 0, len(at))
	for _, s := range at {
		all = append(all, *s)
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].first != all[j].first {
			return all[i].first < all[j].first
		}
		return all[i].register.id < all[j].register.id
	})
	return all
}
