package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// document is what we use of an SPDX 2.3 document.
type document struct {
	Version       string         `json:"spdxVersion"`
	DataLicense   string         `json:"dataLicense"`
	ID            string         `json:"SPDXID"`
	Name          string         `json:"name"`
	Namespace     string         `json:"documentNamespace"`
	Creation      creation       `json:"creationInfo"`
	Packages      []spdxPackage  `json:"packages"`
	Relationships []relationship `json:"relationships"`
}

type creation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID               string      `json:"SPDXID"`
	Name             string      `json:"name"`
	Version          string      `json:"versionInfo,omitempty"`
	Download         string      `json:"downloadLocation"`
	FilesAnalyzed    bool        `json:"filesAnalyzed"`
	LicenseConcluded string      `json:"licenseConcluded"`
	LicenseDeclared  string      `json:"licenseDeclared"`
	Copyright        string      `json:"copyrightText"`
	Checksums        []checksum  `json:"checksums,omitempty"`
	References       []reference `json:"externalRefs,omitempty"`
	Comment          string      `json:"comment,omitempty"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type reference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const noAssertion = "NOASSERTION"

// billOfMaterials lists the modules in the binary and the Go that built it, as SPDX 2.3.
func (p *program) billOfMaterials() ([]byte, error) {
	sum := fmt.Sprintf("%x", sha256.Sum256(p.body))
	const main = "SPDXRef-snatwatch"
	d := document{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT",
		Name:      "snatwatch-" + p.info.Main.Version + "-linux-" + p.arch,
		Namespace: "https://" + p.info.Main.Path + "/spdx/" + sum,
		Creation:  creation{p.created.Format(time.RFC3339), []string{"Tool: snatwatch-deploy-image"}},
		Packages: []spdxPackage{{
			ID: main, Name: p.info.Main.Path, Version: p.info.Main.Version, Download: "https://" + p.info.Main.Path,
			LicenseConcluded: "Apache-2.0", LicenseDeclared: "Apache-2.0", Copyright: noAssertion,
			Checksums:  []checksum{{"SHA256", sum}},
			References: []reference{packageURL("golang", p.info.Main.Path, p.info.Main.Version)},
			Comment:    "commit " + p.revision,
		}},
		Relationships: []relationship{{"SPDXRef-DOCUMENT", "DESCRIBES", main}},
	}
	goVersion := strings.TrimPrefix(p.info.GoVersion, "go")
	modules := append([]*debug.Module{{Path: "std", Version: goVersion}}, p.info.Deps...)
	for i, m := range modules {
		m = cmp.Or(m.Replace, m)
		id := fmt.Sprintf("SPDXRef-module-%d", i)
		q := spdxPackage{
			ID: id, Name: m.Path, Version: m.Version, Download: noAssertion,
			LicenseConcluded: noAssertion, LicenseDeclared: noAssertion, Copyright: noAssertion,
			References: []reference{packageURL("golang", m.Path, m.Version)},
		}
		if m.Sum != "" {
			q.Comment = "sum in go.sum: " + m.Sum
		}
		d.Packages = append(d.Packages, q)
		d.Relationships = append(d.Relationships, relationship{main, "DEPENDS_ON", id})
	}
	return marshal(d)
}

// packageURL names a package as scanners of known faults look it up.
func packageURL(kind, path, version string) reference {
	return reference{"PACKAGE-MANAGER", "purl", "pkg:" + kind + "/" + path + "@" + url.PathEscape(version)}
}
