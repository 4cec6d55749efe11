// Command image makes an OCI image of snatwatch FROM scratch, for all the binaries that it is given, and
// their bills of materials. What it writes depends on the binaries alone, so two builds give one digest.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

const usage = "usage: image sbom BINARY >FILE.spdx.json | image archive FILE.tar BINARY..."

// run prints a bill of materials, or writes an OCI archive and prints the digest of its index.
func run(args []string, out io.Writer) error {
	switch {
	case len(args) == 2 && args[0] == "sbom":
		p, err := readProgram(args[1])
		if err != nil {
			return err
		}
		body, err := p.billOfMaterials()
		if err != nil {
			return err
		}
		_, err = out.Write(body)
		return err
	case len(args) > 2 && args[0] == "archive":
		var programs []*program
		for _, path := range args[2:] {
			p, err := readProgram(path)
			if err != nil {
				return err
			}
			programs = append(programs, p)
		}
		digest, err := writeArchive(args[1], programs)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, digest)
		return err
	}
	return errors.New(usage)
}

// program is a binary and what the toolchain wrote into it.
type program struct {
	body []byte
	info *buildinfo.BuildInfo
	// arch is its GOARCH, revision its commit, and created when the commit was made: the zero time of Unix
	// for a build outside version control.
	arch, revision string
	created        time.Time
}

func readProgram(path string) (*program, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the build info of %s: %w", path, err)
	}
	p := &program{body: body, info: info, revision: "unknown", created: time.Unix(0, 0).UTC()}
	static := false
	for _, s := range info.Settings {
		switch s.Key {
		case "GOARCH":
			p.arch = s.Value
		case "CGO_ENABLED":
			static = s.Value == "0"
		case "vcs.revision":
			p.revision = s.Value
		case "vcs.time":
			if p.created, err = time.Parse(time.RFC3339, s.Value); err != nil {
				return nil, fmt.Errorf("time of the commit in %s: %w", path, err)
			}
		}
	}
	if !static {
		return nil, fmt.Errorf("%s was built with cgo: an image FROM scratch has no C library", path)
	}
	return p, nil
}

// marshal writes v as indented JSON with a line end.
func marshal(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}
