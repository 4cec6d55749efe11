#!/usr/bin/env bash
# nstat in one network namespace prints its counters less those of another one.
#
# Guess: nstat prints by how much each counter has grown since it last ran in this namespace.
# Seen: it keeps what it saw last in one file for each user, whatever the namespace. After a run in a namespace with 15
# sent datagrams, a first run in another one with 25 prints 10, and a first run in one with 10 prints nothing at all. So
# a script that goes through pods, or a gateway and its namespaces, reads differences of unrelated counters that look
# like small, sound numbers. nstat -as prints what the kernel has and leaves the file alone.
# Seen with iproute2 6.1.0 of Debian 12 on Linux 6.18.
#
# Debian, as root. Everything stays in network and mount namespaces of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in nstat:iproute2 unshare:util-linux; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
nstat -V 2>&1
echo "Linux $(uname -r)"

# A file system of its own where nstat keeps its file, so that the user's is not touched.
unshare --mount --net bash -euo pipefail <<'INSIDE'
mount -t tmpfs none /tmp
unset NSTAT_HISTORY
# sent N writes N datagrams in a new namespace, and prints how many the kernel counted there and what nstat says.
# Every second write fails with the answer to the one before it, so that half of them are sent.
sent() {
	unshare --net bash -euo pipefail -c '
		ip link set lo up
		exec 3>/dev/udp/127.0.0.1/9
		for _ in $(seq '"$1"'); do echo x >&3 || true; done 2>/dev/null
		counted=$(awk "/^Udp:/ { n = \$5 } END { print n }" /proc/net/snmp)
		said=$(nstat | awk "/^UdpOutDatagrams/ { print \$2 }")
		echo "counted $counted, nstat says ${said:-nothing}"
	'
}
first=$(sent 30) second=$(sent 50) third=$(sent 20)
printf '%s\n' "$first" "$second" "$third"
read -r _ a _ _ a_said <<<"${first/,/}"
read -r _ b _ _ b_said <<<"${second/,/}"
read -r _ c _ _ c_said <<<"${third/,/}"
[ "$a_said" = "$a" ] && [ "$b_said" = $((b - a)) ] && [ "$c" -lt "$b" ] && [ "$c_said" = nothing ] || {
	echo 'the behaviour has changed'
	exit 1
}
INSIDE
