package main

import (
	"runtime"
	"runtime/debug"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// build is what the toolchain wrote into the binary.
type build struct {
	metrics.Build
	// date is when the commit was made, as RFC 3339.
	date string
}

// newBuild reads what the toolchain wrote into the binary: the version is the tag of the commit, else one
// made of the tag before it, the commit's time and its hash. A build outside version control has none.
func newBuild() build {
	b := build{
		Build: metrics.Build{Version: "unknown", Revision: "unknown", GoVersion: runtime.Version()},
		date:  "unknown",
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	modified := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.date = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+modified"
			}
		}
	}
	b.Revision += modified
	return b
}

func (b build) text() string {
	return "snatwatch " + b.Version + ", commit " + b.Revision + " of " + b.date + ", " + b.GoVersion
}
