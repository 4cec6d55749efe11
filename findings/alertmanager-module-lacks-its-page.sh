#!/usr/bin/env bash
# Alertmanager since 0.32 cannot be built or installed from its Go module.
#
# Guess: "go install github.com/prometheus/alertmanager/cmd/alertmanager@VERSION", or a tool line in go.mod, builds any
# release, as it does for Prometheus, and pinning a newer version is a change of one number.
# Seen: 0.31.1 builds. 0.32.0 and later embed their web page from the folder ui/app/dist, which a release build makes
# with npm and which is no part of the module, so the package ui does not compile: "no matching files found". The
# command amtool, which needs no page, still builds.
# Seen with Go 1.26 and Alertmanager 0.31.1, 0.32.0 and 0.35.0. Source: ui/web.go of the module.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go version
changed=0
# try VERSION PACKAGE WANT: builds the package and says what came of it.
try() {
	rm -rf module && mkdir module && cd module
	go mod init example >/dev/null 2>&1
	go get "github.com/prometheus/alertmanager/$2@v$1" >/dev/null 2>&1
	local got=builds
	go build -o /dev/null "github.com/prometheus/alertmanager/$2" 2>../error || got=fails
	echo "$1 $2: $got $(grep -o 'pattern .*' ../error || true)"
	[ "$got" = "$3" ] || changed=1
	cd ..
}
try 0.31.1 ui builds
try 0.32.0 ui fails
try 0.35.0 ui fails
try 0.35.0 cmd/amtool builds
[ "$changed" = 0 ] || { echo 'the behaviour has changed'; exit 1; }
