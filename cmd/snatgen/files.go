package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// shard replaces the rules for all clusters by the rules of each shard.
func shard(files map[string][]byte, o rules.Options, shards []string) error {
	for i, clusters := range shards {
		o.Shard = clusters
		if err := o.Validate(); err != nil {
			return err
		}
		of, err := o.Files()
		if err != nil {
			return err
		}
		for name, body := range of {
			files[filepath.Join("rules", fmt.Sprintf("shard-%d", i+1), name)] = body
			delete(files, filepath.Join("rules", name))
		}
	}
	return nil
}

// write writes all files below dir or none: each goes beside its place first, and all are moved at the end.
func write(dir string, files map[string][]byte, out io.Writer) (err error) {
	names := slices.Sorted(maps.Keys(files))
	var made []string // what to remove after an error, in the order of making
	defer func() {
		if err != nil {
			for _, path := range slices.Backward(made) {
				_ = os.Remove(path) // the caller gets the error that led here
			}
		}
	}()
	for _, name := range names {
		path := filepath.Join(dir, name)
		folders, err := mkdir(filepath.Dir(path))
		made = append(made, folders...)
		if err != nil {
			return err
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return fmt.Errorf("write %s: it is a folder", path)
		}
		made = append(made, path+temporary)
		if err := os.WriteFile(path+temporary, files[name], 0o644); err != nil {
			return err
		}
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.Rename(path+temporary, path); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, path); err != nil {
			return err
		}
	}
	return nil
}

// temporary is the end of a file's name until all files are written.
const temporary = ".new"

// mkdir does what os.MkdirAll does, and returns the folders that it made, the outermost first.
func mkdir(dir string) ([]string, error) {
	var missing []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, d)
	}
	slices.Reverse(missing)
	return missing, os.MkdirAll(dir, 0o755)
}
