#!/usr/bin/env bash
# UDP clients share one range of ports for all destinations, and "no port left" is EAGAIN: try again.
#
# Guess: a machine has its 28,232 local ports for each destination, by UDP as by TCP; a program that finds none left gets
# EADDRNOTAVAIL from connect in both.
# Seen: connect by TCP takes a port that only its destination excludes; by UDP it is one that no other UDP socket has,
# whatever its destination, and whichever family. And UDP answers EAGAIN, from connect, send and sendto, though the socket
# is writable: a program without blocking, which waits until it may write and tries again, spins. bind answers
# EADDRINUSE, by TCP too. So an alert on one error sees a third of the cases, and a budget of UDP ports has to be one
# for the machine.
# Seen with Linux 6.18, with a range of ten ports. Source: udp_lib_get_port() in net/ipv4/udp.c and inet_autobind() in
# net/ipv4/af_inet.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 sysctl:procps python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r)"

prepare='ip link set lo up && sysctl -qw "net.ipv4.ip_local_port_range=40000 40009"'
unshare --net bash -c "$prepare && exec python3 -" <<'PYTHON'
import errno
import select
import socket
import sys

kept = []


def fails(action, *args):
    """The name of the error, or nothing."""
    try:
        kept.append(action(*args))
    except OSError as e:
        return errno.errorcode[e.errno]


def opened(kind, destination=None, family=socket.AF_INET):
    s = socket.socket(family, kind)
    if destination:
        s.connect(destination)
    return s


servers = [socket.create_server(("127.0.0.1", port), backlog=100) for port in (9000, 9001)]
addresses = [("127.0.0.1", 9000), ("127.0.0.1", 9001)]
free = {}
for name, kind in ("TCP", socket.SOCK_STREAM), ("UDP", socket.SOCK_DGRAM):
    for address in addresses:
        got = 0
        while not (failure := fails(opened, kind, address)):
            got += 1
        free[name, address[1]] = got, failure
        print(f"{name} to port {address[1]}: {got} connects succeed, then {failure}")

unbound = opened(socket.SOCK_DGRAM)
unbound.setblocking(False)
other = {
    "UDP sendto": fails(unbound.sendto, b"x", addresses[0]),
    "UDP bind": fails(unbound.bind, ("127.0.0.1", 0)),
    "UDP connect by IPv6": fails(opened, socket.SOCK_DGRAM, ("::1", 9000), socket.AF_INET6),
    "TCP bind": fails(opened(socket.SOCK_STREAM).bind, ("127.0.0.1", 0)),
}
writable = select.select([], [unbound], [], 0)[1] == [unbound]
print(", ".join(f"{name}: {failure}" for name, failure in other.items()), "; writable:", writable)
expected = [(10, "EADDRNOTAVAIL"), (10, "EADDRNOTAVAIL"), (10, "EAGAIN"), (0, "EAGAIN")]
if list(free.values()) != expected or list(other.values()) != ["EAGAIN", "EADDRINUSE", "EAGAIN", "EADDRINUSE"] or not writable:
    sys.exit("the behaviour has changed")
PYTHON
