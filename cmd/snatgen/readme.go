package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// The table of metrics stands in metricsReadme between these lines.
const (
	metricsReadme = "detector/metrics/README.md"
	tableBegin    = "<!-- metrics: written by cmd/snatgen -->\n"
	tableEnd      = "<!-- end of metrics -->\n"
)

// readme returns the README of the metrics below dir with a fresh table, nil where dir has none.
func readme(dir string) ([]byte, error) {
	path := filepath.Join(dir, filepath.FromSlash(metricsReadme))
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	before, rest, ok := bytes.Cut(body, []byte(tableBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		return nil, fmt.Errorf("%s: want the lines %q and %q, between which the table of metrics stands", path,
			tableBegin, tableEnd)
	}
	return bytes.Join([][]byte{before, []byte(tableBegin + metricTable() + tableEnd), after}, nil), nil
}

func metricTable() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | |\n|---|---|---|---|\n")
	for _, m := range metrics.Metrics() {
		labels := make([]string, len(m.Labels))
		for i, l := range m.Labels {
			labels[i] = string(l)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, strings.Join(labels, ", "),
			strings.ReplaceAll(m.Help, "|", "\\|"))
	}
	return b.String()
}
