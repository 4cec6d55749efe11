package backtest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A run that is refused, or that fails, leaves every file as it was.
func TestRefusedRunWritesNothing(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"ok.csv": fiveFlows, "ok.dst.txt": "0\tstore\n", "empty.csv": "start,duration,dst\n", "keep.csv": "kept\n",
	}
	tests := []struct {
		name string
		set  func(c *Command, dir string)
		want string
	}{
		{"a trace over the record", func(c *Command, dir string) { c.Trace = filepath.Join(dir, "ok.csv") }, "would overwrite what is read"},
		{"a page over the record", func(c *Command, dir string) { c.HTML = filepath.Join(dir, "ok.csv") }, "would overwrite what is read"},
		{"a trace over it by another name", func(c *Command, dir string) { c.Trace = filepath.Join(dir, "link.csv") }, "would overwrite what is read"},
		{"a trace over its names", func(c *Command, dir string) { c.Trace = filepath.Join(dir, "ok.dst.txt") }, "would overwrite what is read"},
		{"both to a new file", func(c *Command, dir string) {
			c.Trace, c.HTML = filepath.Join(dir, "new"), filepath.Join(dir, ".", "new")
		}, "it is the file of trace, too"},
		{"both to an old file", func(c *Command, dir string) {
			c.Trace, c.HTML = filepath.Join(dir, "keep.csv"), filepath.Join(dir, "keep.csv")
		}, "it is the file of trace, too"},
		{"no such folder", func(c *Command, dir string) { c.HTML = filepath.Join(dir, "none", "page.html") }, "no such file or directory"},
		{"a folder", func(c *Command, dir string) { c.Trace = dir }, "is a directory"},
		{"no such record", func(c *Command, dir string) {
			c.Files, c.Trace = []string{filepath.Join(dir, "none.csv")}, filepath.Join(dir, "keep.csv")
		}, "no such file or directory"},
		{"a record without flows", func(c *Command, dir string) {
			c.Files, c.Trace, c.HTML = []string{filepath.Join(dir, "empty.csv")}, filepath.Join(dir, "keep.csv"), filepath.Join(dir, "new")
		}, "no usable flow"},
		{"no such source", func(c *Command, dir string) { c.Source, c.Trace = "a", filepath.Join(dir, "keep.csv") }, "is not in the record"},
		{"a trace of two replays", func(c *Command, dir string) {
			c.CoolDowns, c.Trace = make([]time.Duration, 2), filepath.Join(dir, "keep.csv")
		}, "here are 2 replays"},
		{"a trace of three profiles", func(c *Command, dir string) {
			c.Files, c.Ports, c.Scenario, c.Quick, c.Trace = nil, 0, "slow", true, filepath.Join(dir, "keep.csv")
		}, "a trace takes one scenario and one profile"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Link(filepath.Join(dir, "ok.csv"), filepath.Join(dir, "link.csv")); err != nil {
				t.Fatal(err)
			}
			c := command(t, "")
			c.Files, c.Ports, c.Trace = []string{filepath.Join(dir, "ok.csv")}, 10, ""
			tt.set(&c, dir)
			if err := c.Run(context.Background(), &bytes.Buffer{}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			want := map[string]string{"link.csv": fiveFlows}
			for name, text := range files {
				want[name] = text
			}
			got := map[string]string{}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				text, err := os.ReadFile(filepath.Join(dir, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				got[e.Name()] = string(text)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("files (-want +got)\n%s", diff)
			}
		})
	}
}
