#!/usr/bin/env bash
# go build -buildvcs=true in a linked git work tree writes no version into the program, and reports no error.
#
# Guess: -buildvcs=true either stamps the commit and a version made of it, or fails, since that is what tells it from
# "auto"; and a work tree of "git worktree add" is as good a checkout as any.
# Seen: in the repository the program knows its version, commit and time. In a linked work tree of the same commit it
# says "(devel)" and has no vcs settings, and go build ends with 0. Go looks for a folder .git, and a linked work tree has
# a file of that name. A release that is built in one has no version.
# Seen with Go 1.26.8 and git 2.39.
#
# Needs Go and git. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GOFLAGS='' GOWORK=off
go version
git --version
mkdir "$work/repository"
cd "$work/repository"
printf 'module example.com/x\n\ngo 1.26\n' >go.mod
printf 'package main\n\nfunc main() {}\n' >main.go
git init -q
git add -A
git -c user.name=x -c user.email=x@example.com commit -qm x
git worktree add -q "$work/linked"
build() {
	echo "$1:"
	(cd "$work/$1" && go build -buildvcs=true -o "$work/$1.program" .)
	go version -m "$work/$1.program" | awk '$1 == "mod" || /vcs/ { print "  " $0 }' | tee "$work/$1.info"
}
build repository
build linked
grep -q 'vcs.revision' "$work/repository.info" && grep -q 'v0\.0\.0-' "$work/repository.info" &&
	grep -q '(devel)' "$work/linked.info" && ! grep -q vcs "$work/linked.info" || { echo 'the behaviour has changed'; exit 1; }
