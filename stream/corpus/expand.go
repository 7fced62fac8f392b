package corpus

import (
	"strconv"
	"strings"

	"lockstep/internal/seed"
)

var numberWords = []string{
	"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
	"eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
}

// telling is the state of one story while it is written.
type telling struct {
	g      *grammar
	dice   seed.Stream
	thrown uint64     // dice used so far
	values [][]string // columns by variable
	ints   []int      // value of the variables that are numbers
	out    strings.Builder
}

// expand writes the story that dice decide.
func (g *grammar) expand(dice seed.Stream) string {
	t := telling{g: g, dice: dice}
	t.bindAll()
	t.write("story")
	return t.out.String()
}

// below throws a number in [0, n).
func (t *telling) below(n int) int {
	v := t.dice.Below(t.thrown, uint64(n))
	t.thrown++
	return int(v)
}

// bindAll gives every variable its value, in the order of the file. Variables
// of one table get different entries.
func (t *telling) bindAll() {
	t.values = make([][]string, len(t.g.binds))
	t.ints = make([]int, len(t.g.binds))
	for i, b := range t.g.binds {
		switch b.kind {
		case entry:
			t.values[i] = t.pick(i, b.table)
			continue
		case number:
			t.ints[i] = b.low + t.below(b.high-b.low+1)
		case sum:
			t.ints[i] = t.ints[b.a] + t.ints[b.b]
		case minus:
			t.ints[i] = t.ints[b.a] - t.ints[b.b]
		}
		t.values[i] = []string{numberWords[t.ints[i]], strconv.Itoa(t.ints[i])}
	}
}

// pick throws for an entry of table that no earlier variable has: the entry
// thrown, or the first free one behind it.
func (t *telling) pick(before int, table string) []string {
	entries := t.g.tables[table].entries
	at := t.below(len(entries))
	for t.taken(before, table, entries[at][0]) {
		at = (at + 1) % len(entries)
	}
	return entries[at]
}

func (t *telling) taken(before int, table, name string) bool {
	for i := range before {
		if t.g.binds[i].table == table && t.values[i][0] == name {
			return true
		}
	}
	return false
}

// write expands one alternative of a rule.
func (t *telling) write(name string) {
	alternatives := t.g.rules[name]
	for _, p := range alternatives[t.below(len(alternatives))] {
		switch {
		case p.isVar && p.capital:
			t.out.WriteString(capital(t.values[p.bind][p.column]))
		case p.isVar:
			t.out.WriteString(t.values[p.bind][p.column])
		case p.rule != "":
			t.write(p.rule)
		default:
			t.out.WriteString(p.literal)
		}
	}
}
