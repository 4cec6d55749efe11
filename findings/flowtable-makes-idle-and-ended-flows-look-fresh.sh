#!/usr/bin/env bash
# What conntrack says of a flow that was in a flow table is neither how long it was silent nor that it was reset.
#
# Guess: an entry's remaining time, less than the limit of its state, tells how long the flow was silent; and a flow that
# was reset is in state CLOSE.
# Seen: a flow table (nft's flowtable, which firewalls of Debian, OpenWrt and VyOS use) sets the remaining time when a flow
# leaves it: Linux 6.1 to the limit of its state, five days, so the silence before is forgotten; Linux 6.12 to what is left
# of one day, so that it looks silent for four days. A flow that is reset within the table stays ESTABLISHED, for 10 s more
# on 6.1 and for 300 s on 6.12: conntrack did not follow its sequence numbers and does not believe the RST.
# Seen with Debian's linux-image-6.1.0-57-amd64 and linux-image-6.12.117+deb12-amd64 in a guest, nftables 1.0.6,
# conntrack 1.4.7. Source: net/netfilter/nf_flow_table_core.c, flow_offload_fixup_ct().
#
# Debian 12, as root. All traffic stays in guests without a network. Fails if the behaviour changes.
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

for version in 6.1 6.12; do
	guest "$version" <<-'GUEST'
		echo "Linux $(uname -r), $(nft --version), $(conntrack --version | head -n 1)"
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
		modprobe nf_flow_table
		nft -f - <<-'END'
			table ip t {
				flowtable f { hook ingress priority 0; devices = { client, server }; }
				chain forward { type filter hook forward priority 0; ip protocol tcp flow add @f; }
			}
		END
		sysctl -qw net.netfilter.nf_flowtable_tcp_timeout=3
		cat >flows.py <<-'END'
			import ctypes, os, re, socket, struct, subprocess, sys, time

			setns = ctypes.CDLL(None, use_errno=True).setns


			def enter(name):
			    with open(f"/run/netns/{name}") as f:
			        assert setns(f.fileno(), 0) == 0


			def entry():
			    out = subprocess.run(["conntrack", "-L", "-p", "tcp"], capture_output=True, text=True).stdout
			    if not out:
			        return None
			    m = re.match(r"tcp +6 (\d+) (\w+) ", out)
			    return (int(m[1]), m[2], False) if m else (0, "", "[OFFLOAD]" in out)


			home = os.open("/proc/self/ns/net", os.O_RDONLY)
			enter("server")
			server = socket.create_server(("10.82.0.2", 8080))


			def offloaded():
			    enter("client")
			    client = socket.create_connection(("10.82.0.2", 8080))
			    assert setns(home, 0) == 0
			    peer, _ = server.accept()
			    for _ in range(100):
			        client.sendall(b"x")
			        peer.recv(1)
			        if (e := entry()) and e[2]:
			            return client, peer
			        time.sleep(0.1)
			    out = subprocess.run(["conntrack", "-L"], capture_output=True, text=True)
			    sys.exit(f"the flow table takes no flow: {out.stdout}{out.stderr}")


			def after(what, until):
			    for _ in range(600):
			        e = entry()
			        if e is None or until(e):
			            return e
			        time.sleep(0.05)
			    sys.exit(f"waited in vain after {what}: {e}")


			client, peer = offloaded()
			left = after("silence", lambda e: not e[2])
			print(f"silent, and back from the flow table after 3 s: {left[1]}, {left[0]} s left")
			subprocess.run(["conntrack", "-F"], capture_output=True)
			client.close(); peer.close()
			time.sleep(1)
			subprocess.run(["conntrack", "-F"], capture_output=True)
			client, peer = offloaded()
			client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
			client.close()
			reset = after("a reset", lambda e: not e[2])
			print(f"reset in the flow table: {reset[1]}, {reset[0]} s left")
			six_one = os.uname().release.startswith("6.1.")
			idle = range(431900, 432001) if six_one else range(86300, 86401)
			end = range(1, 11) if six_one else range(250, 301)
			if left[1] != "ESTABLISHED" or left[0] not in idle or reset[1] != "ESTABLISHED" or reset[0] not in end:
			    sys.exit("the behaviour has changed")
		END
		python3 flows.py
	GUEST
done
