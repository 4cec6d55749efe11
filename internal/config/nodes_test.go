package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseNodes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"40", " 40\n", "40\r\n", "0040"} {
		if got, err := ParseNodes([]byte(text)); got != 40 || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "0", "-1", "4 0", "forty", "1e3", "0x10", "99999999999999999999", strings.Repeat("9", 4096)} {
		if got, err := ParseNodes([]byte(text)); got != 0 || err == nil || len(err.Error()) > 200 {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func FuzzParseNodes(f *testing.F) {
	f.Add([]byte("40\n"))
	f.Add([]byte("0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := ParseNodes(b); (n > 0) != (err == nil) || n < 0 {
			t.Errorf("%q: %d, %v", b, n, err)
		}
	})
}

func TestReadNodes(t *testing.T) {
	t.Parallel()
	if n, err := ReadNodes(write(t, "nodes", "52\n")); n != 52 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	bad := write(t, "nodes", "fifty")
	if _, err := ReadNodes(bad); err == nil || err.Error() != "read "+bad+`: "fifty", want the number of nodes, 1 or more` {
		t.Errorf("bad file: %v", err)
	}
	if _, err := ReadNodes(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := ReadNodes(t.TempDir()); err == nil {
		t.Error("a directory: no error")
	}
	pipe := filepath.Join(t.TempDir(), "pipe") // which nobody writes to
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadNodes(pipe); err == nil || err.Error() != pipe+" is no regular file" {
		t.Errorf("a pipe: %v", err)
	}
}
