#!/usr/bin/env bash
# One SCTP association has as many conntrack entries as its peer has addresses.
#
# Guess: as a TCP connection, an association has one entry, and a masqueraded one takes one port.
# Seen: the peer names all its addresses as the association opens, and the kernel sends heartbeats to each. conntrack makes
# an entry of its own of each path: five associations to a server of two addresses are five entries, then ten. Those of
# the second path never saw an INIT and begin in state HEARTBEAT_SENT.
# Seen with Debian's linux-image-6.12.117+deb12-amd64 in a guest, conntrack 1.4.7. Source: sctp_new() in
# net/netfilter/nf_conntrack_proto_sctp.c.
#
# Debian 12, as root. All traffic stays in a guest without a network. Fails if the behaviour changes.
set -euo pipefail
cd "$(dirname "$0")"
. ./guest.bash

missing=()
for pair in nft:nftables ip:iproute2 conntrack:conntrack python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

guest 6.12 <<-'GUEST'
	echo "Linux $(uname -r), $(nft --version), $(conntrack --version | head -n 1)"
	for ns in client server; do
		ip netns add $ns
		ip link add $ns type veth peer name eth0 netns $ns
	done
	ip address add 10.81.0.1/24 dev client
	ip address add 10.82.0.1/24 dev server
	ip netns exec client ip address add 10.81.0.2/24 dev eth0
	ip netns exec server ip address add 10.82.0.2/24 dev eth0
	ip netns exec server ip address add 10.82.0.3/24 dev eth0
	for ns in client server; do
		ip link set $ns up
		ip netns exec $ns ip link set eth0 up
	done
	ip netns exec client ip route add default via 10.81.0.1
	ip netns exec server ip route add default via 10.82.0.1
	sysctl -qw net.ipv4.ip_forward=1
	nft -f - <<-'END'
		table ip t {
			chain post { type nat hook postrouting priority 100; oifname "server" masquerade; }
		}
	END
	modprobe sctp
	ip netns exec client sysctl -qw net.sctp.hb_interval=2000
	cat >server.py <<-'END'
		import socket
		server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
		server.bind(("0.0.0.0", 7000))
		server.listen(100)
		open("listening", "w").close()
		kept = []
		while True:
		    kept.append(server.accept())
	END
	cat >client.py <<-'END'
		import socket, time
		kept = []
		for _ in range(5):
		    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
		    client.connect(("10.82.0.2", 7000))
		    kept.append(client)
		open("connected", "w").close()
		time.sleep(600)
	END
	ip netns exec server python3 server.py &
	wait_for() { for _ in $(seq 600); do "$@" && return; sleep 0.1; done; echo "waited in vain for $*"; exit 1; }
	wait_for test -e listening
	ip netns exec client python3 client.py &
	wait_for test -e connected
	entries() { conntrack -L -p sctp 2>/dev/null; }
	to() { entries | grep -c "^sctp .* src=10.81.0.2 dst=$1 " || true; }
	first=$(to 10.82.0.2)
	ten() { [ "$(entries | grep -c .)" = 10 ]; }
	wait_for ten
	entries
	echo "5 associations: $first entries to the address that was connected to, later $(to 10.82.0.2), and $(to 10.82.0.3) to the other"
	[ "$first $(to 10.82.0.2) $(to 10.82.0.3)" = '5 5 5' ] || { echo 'the behaviour has changed'; exit 1; }
	kill %1 %2
GUEST
