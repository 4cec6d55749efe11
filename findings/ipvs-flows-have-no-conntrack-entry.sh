#!/usr/bin/env bash
# A flow that IPVS balances has no conntrack entry, and no rule masquerades it, until net.ipv4.vs.conntrack is 1.
#
# Guess: IPVS in its mode "masquerading" translates, so "conntrack -L" shows its flows, and a masquerade rule of nft
# applies to them as to all others; who counts conntrack entries counts these flows.
# Seen: by default neither holds. The real server sees the client's own address, and there is no entry. With
# net.ipv4.vs.conntrack=1 there is one entry for each flow, the rule applies, and the entry's reply comes from the real
# server. kube-proxy's IPVS mode sets it; keepalived and plain ipvsadm do not.
# Seen with Debian's linux-image-6.12.117+deb12-amd64 in a guest, ipvsadm 1.31, nftables 1.0.6, conntrack 1.4.7. Source:
# ip_vs_notrack() in include/net/ip_vs.h and its callers.
#
# Debian 12, as root. All traffic stays in a guest without a network. Fails if the behaviour changes.
set -euo pipefail
cd "$(dirname "$0")"
. ./guest.bash

missing=()
for pair in nft:nftables ip:iproute2 conntrack:conntrack ipvsadm:ipvsadm python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

guest 6.12 <<-'GUEST'
	echo "Linux $(uname -r), $(ipvsadm --version | head -n 1), $(nft --version), $(conntrack --version | head -n 1)"
	for ns in client server; do
		ip netns add $ns
		ip link add $ns type veth peer name eth0 netns $ns
	done
	ip address add 10.81.0.1/24 dev client
	ip address add 10.82.0.1/24 dev server
	ip netns exec client ip address add 10.81.0.2/24 dev eth0
	ip netns exec server ip address add 10.82.0.2/24 dev eth0
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
	ipvsadm --add-service --tcp-service 10.81.0.1:80 --scheduler rr
	ipvsadm --add-server --tcp-service 10.81.0.1:80 --real-server 10.82.0.2:8080 --masquerading
	cat >server.py <<-'END'
		import socket
		server = socket.create_server(("10.82.0.2", 8080))
		kept = []
		while True:
		    peer, address = server.accept()
		    kept.append(peer)
		    peer.sendall(address[0].encode())
	END
	cat >client.py <<-'END'
		import socket, subprocess, sys, time
		for _ in range(600):
		    try:
		        client = socket.create_connection(("10.81.0.1", 80), timeout=10)
		        break
		    except OSError:
		        time.sleep(0.1)
		print(client.recv(100).decode(), flush=True)
		time.sleep(600)
	END
	ip netns exec server python3 server.py &
	try() {
		sysctl -qw net.ipv4.vs.conntrack=$1
		ip netns exec client python3 client.py >from &
		pid=$!
		for _ in $(seq 600); do
			[ -s from ] && break
			sleep 0.1
		done
		from=$(cat from)
		entries=$(conntrack -L -p tcp 2>/dev/null)
		count=$(grep -c . <<<"$entries" || true)
		echo "net.ipv4.vs.conntrack=$1: the real server sees $from; $count entries $entries"
		kill $pid
		rm from
	}
	try 0
	[ "$from $count" = '10.81.0.2 0' ] || { echo 'the behaviour has changed'; exit 1; }
	try 1
	[ "$from $count" = '10.82.0.1 1' ] && grep -q 'src=10.82.0.2 dst=10.82.0.1 ' <<<"$entries" ||
		{ echo 'the behaviour has changed'; exit 1; }
	kill %1
GUEST
