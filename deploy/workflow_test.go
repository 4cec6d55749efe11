package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// The release workflow runs programs that are there, and takes actions at one commit.
func TestReleaseWorkflow(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("workflow/release.yml")
	if err != nil {
		t.Fatal(err)
	}
	var w struct {
		Jobs map[string]struct {
			Steps []struct{ Uses, Run string }
		}
	}
	if err := yaml.Unmarshal(body, &w); err != nil {
		t.Fatal(err)
	}
	programs, pinned := regexp.MustCompile(`\.ci/\w+`), regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40}$`)
	ran := 0
	for name, job := range w.Jobs {
		for _, step := range job.Steps {
			if step.Uses != "" && !pinned.MatchString(step.Uses) {
				t.Errorf("job %s uses %q, want a commit", name, step.Uses)
			}
			for _, program := range programs.FindAllString(step.Run, -1) {
				ran++
				if info, err := os.Stat(filepath.Join("..", program)); err != nil || info.Mode()&0o111 == 0 {
					t.Errorf("job %s runs %s, which is no program: %v", name, program, err)
				}
			}
		}
	}
	if ran != 3 {
		t.Errorf("%d programs are run, want a release, another one, and the tests of the packages", ran)
	}
}

// .ci/packages without a name runs every test there is, and its usage names each.
func TestEveryPackageTestRuns(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("../.ci/packages")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../.ci/packages.d/*")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range files {
		want = append(want, filepath.Base(f))
	}
	for what, pattern := range map[string]string{
		"runs":        `\|\| set -- (.*)`,
		"usage names": `usage: \.ci/packages \[(.*)\]`,
	} {
		m := regexp.MustCompile(pattern).FindSubmatch(body)
		if m == nil {
			t.Fatalf("no %s in .ci/packages", pattern)
		}
		got := strings.FieldsFunc(string(m[1]), func(r rune) bool { return r == ' ' || r == '|' })
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf(".ci/packages %s (-want +got)\n%s", what, diff)
		}
	}
}
