#!/usr/bin/env bash
# An apk made by nfpm differs from build to build under one SOURCE_DATE_EPOCH; the deb of the same config does not.
#
# Guess: with SOURCE_DATE_EPOCH, and the same files, all packages of nfpm are the same bytes, as its documentation of mtime
# says of the contents; a fresh checkout, which has new times of modification, makes no difference.
# Seen: the scripts (.post-install and the like) are in the apk with the time of their files, so a fresh checkout gives
# another package. The deb and the rpm take SOURCE_DATE_EPOCH for everything.
# Seen with nfpm 2.45.1. Way out: touch -d "@$SOURCE_DATE_EPOCH" the scripts first.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
GOBIN=$work GOFLAGS='' go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.1
go version -m nfpm | awk '$1 == "mod" { print $2, $3 }'
printf 'name: x\narch: amd64\nversion: 1.0.0\nmaintainer: x <x@example.com>\ndescription: x\ncontents:\n  - {src: content, dst: /usr/share/x}\nscripts: {postinstall: script}\n' >nfpm.yaml
echo content >content
printf '#!/bin/sh\n' >script
export SOURCE_DATE_EPOCH=1700000000
same=
for packager in apk deb; do
	for day in 2024-01-01 2024-01-02; do
		touch -d "$day" content script # a checkout of that day
		./nfpm package --packager "$packager" --target "$day.$packager" >/dev/null
	done
	got=differ
	! cmp -s "2024-01-01.$packager" "2024-01-02.$packager" || got=alike
	echo "two builds as $packager: $got"
	same="$same $packager:$got"
done
tar --ignore-zeros -tvzf 2024-01-02.apk 2>/dev/null | awk '{ print $4, $NF }'
[ "$same" = ' apk:differ deb:alike' ] || { echo 'the behaviour has changed'; exit 1; }
