package main

import (
	"runtime"
	"runtime/debug"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

type build metrics.Build

// newBuild reads what the toolchain wrote into the binary. A build outside version
// control has no revision.
func newBuild() build {
	b := build{Version: "unknown", Revision: "unknown", GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			b.Revision += "+modified"
		}
	}
	return b
}

func (b build) text() string {
	return "snatwatch " + b.Version + ", revision " + b.Revision + ", " + b.GoVersion
}
