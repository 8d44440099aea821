package pipeline_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"waybill/pipeline"
)

// docs/guarantees.md says of every point what happens there, and the tests that
// it names exist.
func TestGuaranteesAreComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range pipeline.Points() {
		if !regexp.MustCompile("(?m)^\\|[^|]*`" + string(point) + "`").Match(text) {
			t.Errorf("no row says what happens at the point %s", point)
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+|\\w+\\.txtar)`").FindAllSubmatch(text, -1)
	if len(named) < 10 {
		t.Fatalf("%d tests are named, want more", len(named))
	}
	there := testsOfModule(t)
	for _, match := range named {
		if !there[string(match[1])] {
			t.Errorf("%s is named, and there is no such test", match[1])
		}
	}
}

// testsOfModule gives the names of all tests, and of the scripts.
func testsOfModule(t *testing.T) map[string]bool {
	t.Helper()
	there := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		there[entry.Name()] = true
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		for _, match := range function.FindAllSubmatch(source, -1) {
			there[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return there
}
