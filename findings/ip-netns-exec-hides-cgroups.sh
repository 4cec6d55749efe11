#!/usr/bin/env bash
# A program that "ip netns exec" starts sees no cgroup at /sys/fs/cgroup, though only its network should be another.
#
# Guess: ip netns exec changes the network namespace and nothing else, so what reads /sys/fs/cgroup there (to name the container
# or unit of a process, or to find a memory limit) finds what it finds outside.
# Seen: ip mounts a new sysfs over /sys, so that /sys/class/net shows the other namespace's devices; every mount below /sys,
# the cgroup trees among them, is hidden. The folder /sys/fs/cgroup is there and empty, which looks like a machine without
# cgroups. nsenter --net leaves /sys alone and shows the trees. /proc/PID/cgroup is the same in both.
# Seen with iproute2 6.1.0 of Debian 12 on Linux 6.18.
#
# Needs root, Debian with apt, a cgroup tree at /sys/fs/cgroup. Fails if the behaviour changes.
set -euo pipefail

missing=()
while read -r program package; do command -v "$program" >/dev/null || missing+=("$package"); done <<-END
	ip iproute2
	nsenter util-linux
END
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
ip -Version
uname -r

name=finding-$$
ip netns add "$name"
trap 'ip netns delete "$name"' EXIT
count() { ls /sys/fs/cgroup | wc -l; }
outside=$(count)
exec=$(ip netns exec "$name" sh -c 'ls /sys/fs/cgroup | wc -l')
enter=$(nsenter --net="/run/netns/$name" sh -c 'ls /sys/fs/cgroup | wc -l')
echo "entries of /sys/fs/cgroup: $outside outside, $exec in ip netns exec, $enter in nsenter --net"
[ "$outside" -gt 0 ] || { echo 'no cgroup tree to look for'; exit 1; }
same=$(ip netns exec "$name" cat /proc/1/cgroup | cksum)
[ "$same" = "$(cksum </proc/1/cgroup)" ] || { echo '/proc/1/cgroup differs'; exit 1; }
[ "$exec" -eq 0 ] && [ "$enter" -eq "$outside" ] || { echo 'the behaviour has changed'; exit 1; }
