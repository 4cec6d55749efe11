#!/usr/bin/env bash
# helm package of one chart gives other bytes each second, and SOURCE_DATE_EPOCH does not change that. A helm that was built
# from its module moreover takes every cluster that it cannot ask for Kubernetes 1.20.
#
# Guess: a package of the same files is the same file, or is under SOURCE_DATE_EPOCH, so that its checksum can be compared
# with that of a build elsewhere. And helm template renders for the Kubernetes of helm's own client library.
# Seen: each entry has the time at which it was packed. To compare, unpack it and pack it again with times of one's own.
# helm template refuses a chart with kubeVersion ">=1.25.0-0": the version that it renders for is set by the linker flags of
# the project's own builds only, and is v1.20.0 without them; --kube-version says otherwise.
# Seen with helm 3.22.0.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
GOBIN=$work GOFLAGS='' go install helm.sh/helm/v3/cmd/helm@v3.22.0
go version -m helm | awk '$1 == "mod" { print $2, $3 }'
mkdir -p x/templates
printf 'apiVersion: v2\nname: x\nversion: 0.1.0\nkubeVersion: ">=1.25.0-0"\n' >x/Chart.yaml
touch -d @1700000000 x/Chart.yaml
export SOURCE_DATE_EPOCH=1700000000 HOME=$work
./helm package x -d first >/dev/null
sleep 2
./helm package x -d second >/dev/null
got=differ
! cmp -s first/x-0.1.0.tgz second/x-0.1.0.tgz || got=alike
echo "two packages of one chart: $got"
answer=$(./helm template x 2>&1) && answer="rendered: $answer" || true
echo "helm template: $(grep -o 'incompatible with Kubernetes.*' <<<"$answer" || echo "$answer")"
./helm template x --kube-version 1.37.0 && echo 'helm template --kube-version 1.37.0: rendered'
[ "$got" = differ ] && grep -q 'incompatible with Kubernetes v1.20.0' <<<"$answer" || { echo 'the behaviour has changed'; exit 1; }
