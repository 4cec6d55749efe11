package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Media types of the OCI image format, 1.0.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// name is where the image is pulled from; the chart's default is the same.
const name = "ghcr.io/snatwatch/snatwatch"

// userID is who the agent is in a container unless the container is started otherwise: nobody that the node knows.
const userID = 65532

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations"`
}

// imageConfig is what we use of an image's config.
type imageConfig struct {
	platform
	Created time.Time `json:"created"`
	Config  struct {
		User       string
		Entrypoint []string
		Cmd        []string
		WorkingDir string
		Labels     map[string]string
		Ports      map[string]struct{} `json:"ExposedPorts"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []history `json:"history"`
}

type history struct {
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// blobs are the parts of an image by digest.
type blobs map[string][]byte

func (b blobs) add(mediaType string, body []byte) descriptor {
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(body))
	b[digest] = body
	return descriptor{MediaType: mediaType, Digest: digest, Size: len(body)}
}

func (b blobs) addJSON(mediaType string, v any) (descriptor, error) {
	body, err := json.Marshal(v)
	return b.add(mediaType, body), err
}

// writeArchive writes an OCI image layout as one tar file, and returns the digest of the image.
func writeArchive(path string, programs []*program) (string, error) {
	slices.SortFunc(programs, func(a, b *program) int { return strings.Compare(a.arch, b.arch) })
	all := blobs{}
	image := index{SchemaVersion: 2, MediaType: typeIndex, Annotations: programs[0].labels()}
	for i, p := range programs {
		if i > 0 && (p.arch == programs[i-1].arch || p.revision != programs[0].revision) {
			return "", fmt.Errorf("two programs for %s, or of commits %s and %s", p.arch, programs[0].revision, p.revision)
		}
		d, err := p.addTo(all)
		if err != nil {
			return "", err
		}
		image.Manifests = append(image.Manifests, d)
	}
	d, err := all.addJSON(typeIndex, image)
	if err != nil {
		return "", err
	}
	version := strings.TrimPrefix(strings.ReplaceAll(programs[0].info.Main.Version, "+", "-"), "v")
	d.Annotations = map[string]string{
		"org.opencontainers.image.ref.name": version,
		"io.containerd.image.name":          name + ":" + version,
	}
	top, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{d}})
	if err != nil {
		return "", err
	}
	files := []file{{name: "blobs/", mode: 0o755}, {name: "blobs/sha256/", mode: 0o755}}
	for digest, body := range all {
		files = append(files, file{name: "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:"), mode: 0o644, body: body})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	files = append(files, file{name: "index.json", mode: 0o644, body: top}, file{
		name: "oci-layout", mode: 0o644,
		body: []byte(`{"imageLayoutVersion":"1.0.0"}`),
	})
	body, err := pack(files, programs[0].created)
	if err != nil {
		return "", err
	}
	return d.Digest, os.WriteFile(path, body, 0o644)
}

// addTo adds the image of one platform.
func (p *program) addTo(all blobs) (descriptor, error) {
	layer, err := p.layer()
	if err != nil {
		return descriptor{}, err
	}
	zipped, err := zip(layer)
	if err != nil {
		return descriptor{}, err
	}
	c := imageConfig{platform: platform{p.arch, "linux"}, Created: p.created}
	c.Config.User = fmt.Sprintf("%d:%d", userID, userID)
	c.Config.Entrypoint = []string{"/usr/bin/snatwatch"}
	c.Config.Cmd = []string{"run"}
	c.Config.WorkingDir = "/"
	c.Config.Labels = p.labels()
	c.Config.Ports = map[string]struct{}{"9959/tcp": {}}
	c.RootFS.Type = "layers"
	c.RootFS.DiffIDs = []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}
	c.History = []history{{p.created, "go run ./deploy/image"}}
	config, err := all.addJSON(typeConfig, c)
	if err != nil {
		return descriptor{}, err
	}
	d, err := all.addJSON(typeManifest, manifest{
		SchemaVersion: 2, MediaType: typeManifest, Config: config,
		Layers: []descriptor{all.add(typeLayer, zipped)}, Annotations: p.labels(),
	})
	d.Platform = &c.platform
	return d, err
}

// zip compresses with GNU gzip: what Go's compress/gzip makes of a program is 2 to 3 % bigger at its best.
func zip(b []byte) ([]byte, error) {
	cmd := exec.Command("gzip", "-9n")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("gzip -9n: %w", err)
	}
	return out, nil
}

// labels say what the image holds, in the words of the OCI image format.
func (p *program) labels() map[string]string {
	const home = "https://github.com/snatwatch/snatwatch"
	return map[string]string{
		"org.opencontainers.image.title":         "snatwatch",
		"org.opencontainers.image.description":   "Watches the SNAT ports of a node",
		"org.opencontainers.image.url":           home,
		"org.opencontainers.image.source":        home,
		"org.opencontainers.image.documentation": home + "/blob/main/deploy/README.md",
		"org.opencontainers.image.licenses":      "Apache-2.0",
		"org.opencontainers.image.version":       strings.TrimPrefix(p.info.Main.Version, "v"),
		"org.opencontainers.image.revision":      p.revision,
		"org.opencontainers.image.created":       p.created.Format(time.RFC3339),
	}
}

// file is an entry of a tar file; a name with a slash at its end is a folder.
type file struct {
	name  string
	mode  int64
	owner int
	body  []byte
}

//go:embed passwd
var passwd []byte

//go:embed group
var group []byte

// layer is the one layer of the image: the program, its user, and a place for the state file.
func (p *program) layer() ([]byte, error) {
	bill, err := p.billOfMaterials()
	if err != nil {
		return nil, err
	}
	return pack([]file{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, body: group},
		{name: "etc/passwd", mode: 0o644, body: passwd},
		{name: "usr/", mode: 0o755},
		{name: "usr/bin/", mode: 0o755},
		{name: "usr/bin/snatwatch", mode: 0o755, body: p.body},
		{name: "usr/share/", mode: 0o755},
		{name: "usr/share/doc/", mode: 0o755},
		{name: "usr/share/doc/snatwatch/", mode: 0o755},
		{name: "usr/share/doc/snatwatch/snatwatch.spdx.json", mode: 0o644, body: bill},
		{name: "var/", mode: 0o755},
		{name: "var/lib/", mode: 0o755},
		{name: "var/lib/snatwatch/", mode: 0o700, owner: userID},
	}, p.created)
}

// pack writes files as a tar file in which nothing depends on who writes it, or when.
func pack(files []file, at time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{
			Name: f.name, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.body)), ModTime: at,
			Format: tar.FormatUSTAR, Typeflag: tar.TypeReg,
		}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil { // it writes the end
		return nil, err
	}
	return b.Bytes(), nil
}
