package config

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// ParseNodes reads a pool size: one whole number above 0, white space around it.
func ParseNodes(data []byte) (int, error) {
	text := strings.TrimSpace(string(data))
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%.32q, want the number of nodes, 1 or more", text)
	}
	return n, nil
}

// ReadNodes reads a pool size from a file.
func ReadNodes(file string) (int, error) {
	if err := regular(file); err != nil {
		return 0, err
	}
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	n, err := ParseNodes(data)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return n, nil
}

// regular returns an error unless path is a regular file: a pipe makes its reader wait for ever, and a
// device would be lost to the file that is renamed over it.
func regular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	return err
}
