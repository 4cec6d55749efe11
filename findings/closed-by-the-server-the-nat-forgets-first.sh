#!/usr/bin/env bash
# Of a connection that the server has closed and the client has not, the client's machine holds its port for ever and the
# NAT for a minute.
#
# Guess: as long as a client holds its end of a connection, the NAT holds the port of it; so a program that leaks
# connections in CLOSE_WAIT uses up SNAT ports, and conntrack's entries tell how many it leaks.
# Seen: conntrack too has a state CLOSE_WAIT, and forgets after 60 s. The leak is in no entry and takes no port of the NAT, but a
# local port of its machine, for that destination, as long as the program lives. What runs out first is the machine's own
# range, behind a NAT that looks idle, and no count of entries shows the leak.
# Seen with Linux 6.18, nftables 1.0.6, iproute2 6.1.0 and conntrack 1.4.7 (Debian 12), with the 60 s set to 2 s. Source:
# tcp_timeouts[] in net/netfilter/nf_conntrack_proto_tcp.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
nft --version
echo "Linux $(uname -r)"

unshare --net bash -c 'ip link set lo up && ip address add 10.0.0.1/8 dev lo && exec python3 -' <<'PYTHON'
import errno
import socket
import subprocess
import sys
import time

rules = "table ip t { chain c { type nat hook postrouting priority srcnat; ip saddr 10.1.0.0/16 snat to 10.0.0.1; }; }"
subprocess.run(["nft", rules], check=True)
usual = subprocess.run(["sysctl", "-n", "net.netfilter.nf_conntrack_tcp_timeout_close_wait"], capture_output=True, text=True).stdout.strip()
subprocess.run(["sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_close_wait=2"], check=True)
subprocess.run(["sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40009"], check=True)


def lines(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def connect():
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    client.bind(("10.1.0.1", 0))
    failed = client.connect_ex(("10.0.0.9", 9000))
    return errno.errorcode[failed] if failed else client


server = socket.create_server(("10.0.0.9", 9000))
leaked = []
for _ in range(10):
    leaked.append(connect())
    server.accept()[0].close()
for _ in range(600):
    entries = lines("conntrack", "-L", "-p", "tcp")
    if not entries:
        break
    time.sleep(0.1)
waiting = lines("ss", "-Htan", "state", "close-wait")
another = connect()
print(f"timeout of CLOSE_WAIT, usually {usual} s, over: {len(entries)} entries of the NAT, {len(waiting)} sockets in CLOSE_WAIT")
print(f"the eleventh connect, from a range of ten ports: {another}")
if usual != "60" or entries or len(waiting) != 10 or another != "EADDRNOTAVAIL":
    sys.exit("the behaviour has changed")
PYTHON
