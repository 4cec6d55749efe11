#!/usr/bin/env bash
# A socket stays in the cgroup in which it was made, when its process moves to another one.
#
# Guess: ss --cgroup says in which cgroup, and so in which unit or container, the process of a socket is.
# Seen: the kernel notes the cgroup when a socket is made and never again. A process that is moved later (by a service
# manager, a runtime, an administrator) has new sockets in the new cgroup and its old ones in the old cgroup, for as long
# as they live, though /proc/PID/cgroup names the new one alone.
# Seen with iproute2 6.1.0 of Debian 12 on Linux 6.18.
#
# Needs root, Debian with apt, a cgroup v2 tree. Fails if the behaviour changes.
set -euo pipefail

missing=()
while read -r program package; do command -v "$program" >/dev/null || missing+=("$package"); done <<-END
	ss iproute2
	python3 python3-minimal
END
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
ss -Version
uname -r

tree=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$tree" ] || { echo 'no cgroup v2 tree'; exit 1; }
old=$tree/finding-$$-old new=$tree/finding-$$-new
mkdir "$old" "$new"
work=$(mktemp -d)
go=$work/go
mkfifo "$go"
# Within the old cgroup it makes one socket, waits, and makes another one.
sh -c 'echo $$ >"$1/cgroup.procs"; exec python3 -c "
import socket, sys, time
sockets = [socket.create_server((\"127.0.0.1\", 0))]
print(sockets[0].getsockname()[1], flush=True)
open(sys.argv[1]).read()
sockets.append(socket.create_server((\"127.0.0.1\", 0)))
print(sockets[1].getsockname()[1], flush=True)
time.sleep(60)
" "$2"' sh "$old" "$go" >"$go.out" &
pid=$!
ended() {
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	for dir in "$old" "$new"; do until rmdir "$dir"; do sleep 0.1; done; done
	rm -r "$work"
}
trap ended EXIT
line() { until [ "$(wc -l <"$go.out")" -ge "$1" ]; do sleep 0.1; done; sed -n "$1p" "$go.out"; }
first=$(line 1)
echo "$pid" >"$new/cgroup.procs"
: >"$go"
second=$(line 2)
process=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
cgroup() { ss -tlnH --cgroup "sport = :$1" | sed -n 's/.*cgroup:\([^ ]*\).*/\1/p'; }
echo "the process is in $process; its first socket in $(cgroup "$first"), its second in $(cgroup "$second")"
[[ $process == */finding-$$-new ]] && [[ $(cgroup "$first") == */finding-$$-old ]] && [[ $(cgroup "$second") == */finding-$$-new ]] ||
	{ echo 'the behaviour has changed'; exit 1; }
