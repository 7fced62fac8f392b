package lockstep

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRulesNameTests checks that NUMERICS.md has the rules N1 to N27, that each
// names at least one test, that every named test exists, and that every test
// named after a rule is named there.
func TestRulesNameTests(t *testing.T) {
	text, err := os.ReadFile("NUMERICS.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests []string
	for _, s := range sources(t) {
		for _, d := range s.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && s.test {
				tests = append(tests, fn.Name.Name)
			}
		}
	}
	for _, p := range ruleProblems(string(text), tests) {
		t.Error(p)
	}
}

var (
	ruleStart = regexp.MustCompile(`(?m)^- \*\*N(\d+)\*\*|^## `)
	testName  = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)
	ruleTest  = regexp.MustCompile(`^(?:Test|Fuzz)N\d+_`)
)

// ruleProblems compares the text of the rules with the names of all tests.
func ruleProblems(text string, tests []string) (problems []string) {
	starts := ruleStart.FindAllStringSubmatchIndex(text, -1)
	rules := 0
	for i, at := range starts {
		if at[2] < 0 {
			continue // a heading ends the rule before it
		}
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		rules++
		if n := text[at[2]:at[3]]; n != strconv.Itoa(rules) {
			problems = append(problems, "rule N"+n+" stands where N"+strconv.Itoa(rules)+" is due")
		}
		if !testName.MatchString(text[at[0]:end]) {
			problems = append(problems, "rule N"+strconv.Itoa(rules)+" names no test")
		}
	}
	if rules != 27 {
		problems = append(problems, strconv.Itoa(rules)+" rules, want N1 to N27")
	}
	named := testName.FindAllString(text, -1)
	for _, name := range named {
		if !slices.Contains(tests, name) {
			problems = append(problems, name+" is named and does not exist")
		}
	}
	for _, name := range tests {
		if ruleTest.MatchString(name) && !slices.Contains(named, name) {
			problems = append(problems, name+" tests a rule that does not name it")
		}
	}
	return problems
}

// TestRuleProblems feeds the check above what it must find.
func TestRuleProblems(t *testing.T) {
	var text string
	for n := range 27 {
		text += "- **N" + strconv.Itoa(n+1) + "** A rule.\n  *Test:* `TestA`.\n"
	}
	for _, tt := range []struct {
		name, text string
		tests      []string
		problems   int
	}{
		{"all is well", text, []string{"TestA", "TestB"}, 0},
		{"no such test", text, []string{"TestB"}, 27},
		{"a rule without a test", text[:strings.LastIndex(text, "  *Test:*")] + "## Next\n`TestA`", []string{"TestA"}, 1},
		{"a rule is missing", text[strings.Index(text, "- **N2"):], []string{"TestA"}, 27},
		{"a test that no rule names", text, []string{"TestA", "TestN3_Other"}, 1},
	} {
		if got := ruleProblems(tt.text, tt.tests); len(got) != tt.problems {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// TestDataHasOrigins checks that every file of testdata has a row in its
// README, and every row a file.
func TestDataHasOrigins(t *testing.T) {
	readme, err := os.ReadFile("testdata/README.md")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == filepath.Join("testdata", "README.md") {
			return err
		}
		rel, _ := filepath.Rel("testdata", path)
		rel = filepath.ToSlash(rel)
		if !strings.Contains(string(readme), "`"+rel+"`") && !strings.Contains(string(readme), "`"+filepath.ToSlash(filepath.Dir(rel))+"/*`") {
			t.Errorf("testdata/%s has no row in testdata/README.md", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(string(readme), -1)
	if len(rows) == 0 {
		t.Error("testdata/README.md has no rows")
	}
	for _, row := range rows {
		inside, _ := filepath.Glob(filepath.Join("testdata", filepath.FromSlash(row[1])))
		beside, _ := filepath.Glob(filepath.FromSlash(row[1]))
		if len(inside)+len(beside) == 0 {
			t.Errorf("testdata/README.md tells of %s, which is not there", row[1])
		}
	}
}
