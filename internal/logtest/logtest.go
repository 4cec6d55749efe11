// Package logtest holds what a program under test has logged.
package logtest

import (
	"slices"
	"sync"
)

// Lines is a log that a test reads while others write.
type Lines struct {
	mu   sync.Mutex
	text []string
}

// Write keeps b as one text.
func (l *Lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, string(b))
	return len(b), nil
}

// All returns what was written, one text for each write.
func (l *Lines) All() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.text)
}
