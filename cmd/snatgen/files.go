package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/snatwatch/snatwatch/dashboards"
	"github.com/snatwatch/snatwatch/rules"
)

// generate returns every generated file by its path in the repository.
func generate(o rules.Options, release, boardLabel string) (map[string][]byte, error) {
	files := map[string][]byte{}
	ruleFiles, err := o.Files()
	if err != nil {
		return nil, err
	}
	for name, body := range ruleFiles {
		files[filepath.Join("rules", name)] = body
	}
	operator, err := o.Operator(map[string]string{"release": release})
	if err != nil {
		return nil, err
	}
	files[filepath.Join("deploy", "kubernetes", "prometheusrule.yaml")] = operator
	grafana, err := o.Grafana()
	if err != nil {
		return nil, err
	}
	files[filepath.Join("deploy", "grafana", "snatwatch-alerting.yaml")] = grafana
	boards, err := dashboards.Files(o)
	if err != nil {
		return nil, err
	}
	for name, body := range boards {
		files[filepath.Join("dashboards", name)] = body
	}
	configMaps, err := dashboards.ConfigMaps(o, map[string]string{boardLabel: "1"})
	if err != nil {
		return nil, err
	}
	files[filepath.Join("deploy", "kubernetes", "dashboards.yaml")] = configMaps
	return files, nil
}

// write puts files below dir, each by way of a temporary file beside it.
func write(dir string, files map[string][]byte, out io.Writer) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		temporary := path + ".new"
		if err := os.WriteFile(temporary, files[name], 0o644); err != nil {
			return err
		}
		if err := os.Rename(temporary, path); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, path); err != nil {
			return err
		}
	}
	return nil
}
