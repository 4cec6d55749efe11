#!/usr/bin/env bash
# A rootless container's UDP query holds a UDP port of the host long after the container has closed its socket, and
# towards every destination.
#
# Guess: slirp4netns is a NAT in user space. When the container closes its socket, or when conntrack would have forgotten
# the flow (30 s), its port on the host is free; and it was taken for one destination alone, as a NAT's is.
# Seen: each source port of the container is one socket of slirp4netns on the host, bound to a port of all addresses and
# connected to nothing. It is closed once it was silent for four minutes, and until then no other UDP socket of the host,
# whatever its destination, is given that port. A container that sends 100 datagrams a second that nobody answers, each
# from a new port, would hold 24,000 of the host's 28,232. ss shows UNCONN, which looks like servers that listen.
# Seen with slirp4netns 1.2.0-1 and libslirp 4.7.0 of Debian 12. Source: SO_EXPIRE in libslirp's src/slirp.h.
#
# Debian, as root; a minute. All traffic stays in network namespaces of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in slirp4netns:slirp4netns ip:iproute2 ss:iproute2 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
slirp4netns --version | sed -n '1p;/^libslirp/p'

host=slirp-host-$$ container=slirp-container-$$ pid=
end() {
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
	for n in "$host" "$container"; do ip netns del "$n" 2>/dev/null || true; done
}
trap end EXIT
for n in "$host" "$container"; do ip netns add "$n"; ip -n "$n" link set lo up; done
ip -n "$host" link add eth0 type veth peer name to-eth0
ip -n "$host" address add 192.0.2.1/24 dev eth0
ip -n "$host" link set eth0 up
ip -n "$host" link set to-eth0 up
ip -n "$host" route add default via 192.0.2.2
ip netns exec "$host" slirp4netns --configure --netns-type=path "/run/netns/$container" tap0 >/dev/null 2>&1 &
pid=$!
for _ in $(seq 300); do
	! ip -n "$container" -4 route show default | grep -q tap0 || break
	sleep 0.2
done

# send sends 50 datagrams, each from a socket that is closed at once.
send() {
	ip netns exec "$container" python3 -c '
import socket
for _ in range(50):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b"x", ("203.0.113.7", 443))
    s.close()
'
}
held() { ip netns exec "$host" ss -Huan state unconnected | grep -c '0\.0\.0\.0:[0-9]* *0\.0\.0\.0:\*' || true; }

send
for _ in $(seq 100); do # slirp4netns takes them in one by one
	now=$(held)
	[ "$now" != 50 ] || break
	sleep 0.1
done
echo "50 datagrams, and all sockets of the container closed: the host holds $now UDP ports"
sleep 45
later=$(held) container_sockets=$(ip netns exec "$container" ss -Huan | wc -l)
echo "45 s later: $later; sockets in the container: $container_sockets"
[ "$now $later $container_sockets" = '50 50 0' ] || { echo "ports are given back otherwise now" >&2; exit 1; }
