#!/usr/bin/env bash
# podman kube play asks a pod's httpGet probe by running curl inside the container, and refuses a port on the host's network.
#
# Guess: a pod that a kubelet runs is one that podman kube play runs: it asks the probe by HTTP from outside, as a kubelet
# does, and hostPort says nothing new of a pod with hostNetwork: Kubernetes' API server even adds it to each such pod.
# Seen: the probe becomes the command curl in the container. An image FROM scratch has none, so that a server which answers
# is unhealthy for ever. And a port with hostPort on the host's network is refused. A pod copied out of a cluster has both.
# Seen with podman 4.3.1 of Debian 12.
#
# Needs root on Debian 12, and Go. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
podman() { command podman --root "$work/root" --runroot "$work/run" --storage-driver vfs --runtime runc "$@"; }
trap 'podman pod rm -f -a >/dev/null 2>&1 || true; podman unmount -a >/dev/null 2>&1 || true; rm -rf --one-file-system "$work"' EXIT
for p in podman runc catatonit curl; do
	dpkg -s "$p" >/dev/null 2>&1 || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$p" >/dev/null
done
cd "$work"
printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n' >containers.conf
export CONTAINERS_CONF=$work/containers.conf
command podman --version
cat >server.go <<'END'
package main

import "net/http"

func main() {
	panic(http.ListenAndServe("127.0.0.1:18080", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
}
END
CGO_ENABLED=0 GOFLAGS='' go build -o main server.go
tar -c main | podman import --change 'ENTRYPOINT ["/main"]' - localhost/server:1 >/dev/null 2>&1
cat >pod.yaml <<'END'
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  hostNetwork: true
  containers:
    - name: server
      image: localhost/server:1
      livenessProbe: {httpGet: {path: /, port: 18080}}
END
podman kube play pod.yaml >play.log 2>&1 || true # it complains where no systemd runs to ask the probe every ten seconds
for _ in $(seq 300); do curl -sf http://127.0.0.1:18080/ && break; sleep 0.2; done
echo "asked from outside: $(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:18080/)"
probe=$(podman inspect --format '{{json .Config.Healthcheck.Test}}' one-server)
echo "the probe: $probe"
health=$(podman healthcheck run one-server 2>&1) || true
echo "asked by podman: $health"
podman kube down pod.yaml >/dev/null 2>&1

sed 's/^      livenessProbe.*/      ports: [{containerPort: 18080, hostPort: 18080}]/' pod.yaml >port.yaml
port=$(podman kube play port.yaml 2>&1 >/dev/null) && port=accepted
echo "with a port: $port"
grep -q curl <<<"$probe" && grep -q unhealthy <<<"$health" && grep -q PortMappings <<<"$port" || { echo 'the behaviour has changed'; exit 1; }
