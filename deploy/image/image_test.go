package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newProgram(arch string) *program {
	return &program{
		body: []byte("a program for " + arch), arch: arch, revision: "abc", created: time.Unix(1_700_000_000, 0).UTC(),
		info: &buildinfo.BuildInfo{
			GoVersion: "go1.26.8", Main: debug.Module{Path: "github.com/snatwatch/snatwatch", Version: "v0.1.0+x"},
			Deps: []*debug.Module{
				{Path: "example.com/a", Version: "v1.2.3", Sum: "h1:a="},
				{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/c", Version: "v2.0.0", Sum: "h1:c="}},
			},
		},
	}
}

// untar returns the files of a tar file by name. Programs other than Go's library refuse one without its end: two
// blocks of zeros.
func untar(t *testing.T, body []byte) map[string][]byte {
	t.Helper()
	if len(body)%512 != 0 || !bytes.HasSuffix(body, make([]byte, 1024)) {
		t.Errorf("a tar file of %d bytes without its end", len(body))
	}
	files := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(body))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func parse[T any](t *testing.T, body []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}

// Whatever the order of the programs, the archive is the same; each of its parts is what its digest says; and it
// leads from the index to the program of each platform.
func TestArchive(t *testing.T) {
	t.Parallel()
	first, second := filepath.Join(t.TempDir(), "1.tar"), filepath.Join(t.TempDir(), "2.tar")
	digest, err := writeArchive(first, []*program{newProgram("arm64"), newProgram("amd64")})
	if err != nil {
		t.Fatal(err)
	}
	again, err := writeArchive(second, []*program{newProgram("amd64"), newProgram("arm64")})
	if err != nil {
		t.Fatal(err)
	}
	one, _ := os.ReadFile(first) // compared below
	two, _ := os.ReadFile(second)
	if digest != again || len(one) == 0 || !bytes.Equal(one, two) {
		t.Errorf("digests %s and %s, %d and %d bytes, want the same archive", digest, again, len(one), len(two))
	}
	files := untar(t, one)
	for name, body := range files {
		if sum, isBlob := strings.CutPrefix(name, "blobs/sha256/"); isBlob && sum != "" && sum != fmt.Sprintf("%x", sha256.Sum256(body)) {
			t.Errorf("%s is not what its name says", name)
		}
	}
	blob := func(d descriptor) []byte {
		body := files["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		if len(body) != d.Size || d.Size == 0 {
			t.Fatalf("%s has %d bytes, want %d", d.Digest, len(body), d.Size)
		}
		return body
	}
	top := parse[index](t, files["index.json"])
	if len(top.Manifests) != 1 || top.Manifests[0].Digest != digest || top.Manifests[0].Annotations["io.containerd.image.name"] != name+":0.1.0-x" {
		t.Errorf("index.json: %+v", top)
	}
	var platforms []string
	for _, d := range parse[index](t, blob(top.Manifests[0])).Manifests {
		m := parse[manifest](t, blob(d))
		config := parse[imageConfig](t, blob(m.Config))
		z, err := gzip.NewReader(bytes.NewReader(blob(m.Layers[0])))
		if err != nil {
			t.Fatal(err)
		}
		layer, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("sha256:%x", sha256.Sum256(layer)); config.RootFS.DiffIDs[0] != want || config.Config.User != "65532:65532" {
			t.Errorf("config: %+v, want a layer of %s", config, want)
		}
		platforms = append(platforms, d.Platform.OS+"/"+d.Platform.Architecture+": "+string(untar(t, layer)["usr/bin/snatwatch"]))
	}
	if diff := cmp.Diff([]string{"linux/amd64: a program for amd64", "linux/arm64: a program for arm64"}, platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
	if _, err := writeArchive(first, []*program{newProgram("amd64"), newProgram("amd64")}); err == nil {
		t.Error("two programs for one platform are no error")
	}
}

// The bill of materials names the modules that are in the program, not those that were replaced.
func TestBillOfMaterials(t *testing.T) {
	t.Parallel()
	body, err := newProgram("amd64").billOfMaterials()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range parse[document](t, body).Packages {
		got = append(got, p.References[0].Locator)
	}
	want := []string{
		"pkg:golang/github.com/snatwatch/snatwatch@v0.1.0+x", "pkg:golang/std@1.26.8", "pkg:golang/example.com/a@v1.2.3", "pkg:golang/example.com/c@v2.0.0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

// A program that was built with cgo does not run FROM scratch; this test's own may be one, or another kind of file.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"sbom"}, {"archive", "x.tar"}, {"sbom", "image_test.go"}, {"sbom", "/nowhere"}} {
		if err := run(args, io.Discard); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}
