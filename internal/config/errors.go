package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/budget"
)

// Error is one mistake in a configuration.
type Error struct {
	File string
	// Line is 0 where the key is not in the file.
	Line int
	// Key is a path such as budgets[1].vips[0], empty where the file is no YAML.
	Key string
	// Value is what was given, empty when nothing was.
	Value string
	// Want completes "want …".
	Want string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, ": %s", e.Key)
	}
	switch {
	case e.Value != "":
		fmt.Fprintf(&b, ": %s", e.Value)
	case e.Key != "":
		b.WriteString(": missing")
	}
	fmt.Fprintf(&b, ": want %s", e.Want)
	return b.String()
}

// Errors are all mistakes found, in the order of the file.
type Errors []*Error

func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// positions says on which line of which file each key path stands.
type positions struct {
	file  string
	lines map[string]int
}

func (p positions) given(path string) bool { return p.lines[path] > 0 }

// errorAt makes an Error of a key path; a key that is not in the file gets the line
// of what it would stand in.
func (p positions) errorAt(path, value, want string) *Error {
	e := &Error{File: p.file, Key: path, Value: value, Want: want}
	for at := path; at != ""; {
		if e.Line = p.lines[at]; e.Line > 0 {
			break
		}
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	return e
}

// keyError makes an Error of a model's refusal.
func (p positions) keyError(path string, err error) *Error {
	var k *budget.KeyError
	if !errors.As(err, &k) {
		return p.errorAt(path, err.Error(), "a budget")
	}
	return p.errorAt(path+"."+k.Key, k.Value, k.Want)
}
