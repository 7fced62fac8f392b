package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"lockstep/internal/testdata"
)

// childVariable makes the test binary behave as lockstep itself, so that
// commands which start processes of their own can be tested.
const childVariable = "TEST_BINARY_IS_LOCKSTEP"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
		return
	}
	os.Setenv(childVariable, "1")
	os.Exit(m.Run())
}

// TestScripts runs the transcripts of testdata/scripts. Each line is one of
//
//	# text            a comment
//	lockstep ARGS     run a command line ($WORK is the script's folder)
//	exit N            its exit code; 0 unless said
//	stdout REGEX      what it printed; (?m) is on
//	stderr REGEX
//	lines N           how many lines stdout had
//	env NAME=VALUE    for the commands below
//	file NAME TEXT    write a file; \n in TEXT is a newline
//	cut NAME N        truncate a file to N bytes
//	exists NAME       the file is there
//	data NAME         skip unless this real data is present; $DATA names the folder
//	long              skip under -short
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(testdata.Root(), "testdata", "scripts", "*.txt"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := &script{t: t, work: t.TempDir()}
			t.Chdir(s.work)
			if err := s.run(string(text)); err != nil {
				t.Fatalf("%s:%v", path, err)
			}
		})
	}
}

// script is the state of one transcript.
type script struct {
	t              *testing.T
	work, data     string
	ran            bool
	command        string
	code           int
	exitSeen       bool
	stdout, stderr bytes.Buffer
}

func (s *script) run(text string) error {
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.line(line); err != nil {
			return fmt.Errorf("%d: %w", i+1, err)
		}
	}
	return s.finish()
}

func (s *script) line(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "lockstep":
		if err := s.finish(); err != nil {
			return err
		}
		s.execute(rest)
	case "exit":
		want, err := strconv.Atoi(rest)
		if err != nil {
			return err
		}
		s.exitSeen = true
		if s.code != want {
			return s.errorf("exit code %d, want %d", s.code, want)
		}
	case "stdout":
		return s.match("stdout", s.stdout.String(), rest)
	case "stderr":
		return s.match("stderr", s.stderr.String(), rest)
	case "lines":
		if got := strings.Count(s.stdout.String(), "\n"); strconv.Itoa(got) != rest {
			return s.errorf("%d lines on stdout, want %s", got, rest)
		}
	case "env":
		name, value, _ := strings.Cut(rest, "=")
		s.t.Setenv(name, value)
	case "file":
		name, text, _ := strings.Cut(rest, " ")
		return os.WriteFile(name, []byte(strings.ReplaceAll(text, `\n`, "\n")), 0o600)
	case "cut":
		name, size, _ := strings.Cut(rest, " ")
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return err
		}
		return os.Truncate(s.expand(name), n)
	case "exists":
		_, err := os.Stat(s.expand(rest))
		return err
	case "data":
		s.data = filepath.Dir(testdata.Path(s.t, rest))
	case "long":
		if testing.Short() {
			s.t.Skip("long script")
		}
	default:
		return fmt.Errorf("unknown word %q", word)
	}
	return nil
}

func (s *script) expand(text string) string {
	return strings.NewReplacer("$WORK", s.work, "$DATA", s.data).Replace(text)
}

// execute runs one command line; double quotes keep blanks together.
func (s *script) execute(line string) {
	var args []string
	for i, part := range strings.Split(s.expand(line), `"`) {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	s.ran, s.command, s.exitSeen = true, line, false
	s.stdout.Reset()
	s.stderr.Reset()
	s.code = run(args, &s.stdout, &s.stderr)
}

// finish checks that a command whose exit code was not asked for succeeded.
func (s *script) finish() error {
	if s.ran && !s.exitSeen && s.code != 0 {
		return s.errorf("exit code %d", s.code)
	}
	return nil
}

func (s *script) match(name, got, pattern string) error {
	re, err := regexp.Compile("(?m)" + s.expand(pattern))
	if err != nil {
		return err
	}
	if !re.MatchString(got) {
		return s.errorf("%s does not match %q", name, pattern)
	}
	return nil
}

func (s *script) errorf(format string, args ...any) error {
	return fmt.Errorf("%s\nlockstep %s\n-- stdout\n%s-- stderr\n%s",
		fmt.Sprintf(format, args...), s.command, &s.stdout, &s.stderr)
}

// TestScriptsCanFail feeds the runner transcripts that are wrong.
func TestScriptsCanFail(t *testing.T) {
	for _, text := range []string{
		"lockstep version\nexit 3",
		"lockstep version\nstdout no such text",
		"lockstep version\nstderr .",
		"lockstep nonsense",
		"lockstep version\nlines 99",
		"exists nothing",
		"mumble",
	} {
		if err := (&script{t: t, work: t.TempDir()}).run(text); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}
