#!/usr/bin/env bash
# A connection between two containers of one bridge takes a SNAT port of the host, though it never leaves the bridge.
#
# Guess: a masquerade rule for the containers' network, "ip saddr 10.9.0.0/24 masquerade", is for what the host routes. Two
# containers on one bridge talk at layer 2: the host's NAT does not see them.
# Seen: with net.bridge.bridge-nf-call-iptables=1, which Docker and kubelet's checks ask for, bridged packets pass the NAT
# chains too, those of nft as well as those of iptables. The connection is masqueraded, takes a port of the host for that
# destination, and the server sees the bridge's address in place of its peer's. With 0 the same rule leaves it alone. To
# the rule the packet leaves by the bridge, not by the container's port, so 'oifname != "br0"' keeps such flows out.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: net/bridge/br_netfilter_hooks.c.
#
# Debian, as root. All traffic stays in network namespaces of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in nft:nftables ip:iproute2 conntrack:conntrack python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
modprobe br_netfilter 2>/dev/null || true
echo "Linux $(uname -r), $(nft --version), $(conntrack --version)"

host=bridged-host-$$ one=bridged-one-$$ two=bridged-two-$$
trap 'for n in "$host" "$one" "$two"; do ip netns del "$n" 2>/dev/null || true; done' EXIT
for n in "$host" "$one" "$two"; do ip netns add "$n"; done
ip netns exec "$host" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward' # else the answers end at the bridge's address
ip -n "$host" link add br0 type bridge
ip -n "$host" address add 10.9.0.1/24 dev br0
ip -n "$host" link set br0 up
number=2
for n in "$one" "$two"; do
	ip -n "$host" link add "port$number" type veth peer name eth0 netns "$n"
	ip -n "$host" link set "port$number" master br0 up
	ip -n "$n" address add "10.9.0.$number/24" dev eth0
	ip -n "$n" link set eth0 up
	number=$((number + 1))
done

# sees RULE SETTING connects from one to two, and prints which client the server sees and how many ports the host gave out.
sees() {
	local client ports
	ip netns exec "$host" sh -c "echo $2 >/proc/sys/net/bridge/bridge-nf-call-iptables"
	ip netns exec "$host" nft -f - <<-END
		flush ruleset
		table ip n {
			chain post {
				type nat hook postrouting priority 100
				ip saddr 10.9.0.0/24 $1 masquerade
			}
		}
	END
	ip netns exec "$host" conntrack -F >/dev/null 2>&1
	client=$(ip netns exec "$two" python3 -c '
import socket, subprocess, sys
s = socket.create_server(("10.9.0.3", 8000))
s.settimeout(60)
p = subprocess.Popen(["ip", "netns", "exec", sys.argv[1], "python3", "-c",
    "import socket; socket.create_connection((\"10.9.0.3\", 8000), 60).recv(1)"])
print(s.accept()[1][0])
' "$one")
	ports=$(ip netns exec "$host" conntrack -L -p tcp 2>/dev/null | grep -c 'dst=10.9.0.1 ' || true)
	echo "$client $ports"
}

with=$(sees '' 1) without=$(sees '' 0) other=$(sees 'oifname != "br0"' 1)
echo "bridge-nf-call-iptables=1: the server sees, and ports of the host: $with"
echo "bridge-nf-call-iptables=0: $without"
echo "bridge-nf-call-iptables=1, and the rule leaves out the bridge: $other"
[ "$with" = '10.9.0.1 1' ] || { echo "bridged packets are not masqueraded any more" >&2; exit 1; }
[ "$without" = '10.9.0.2 0' ] || { echo "the setting makes no difference any more" >&2; exit 1; }
[ "$other" = '10.9.0.2 0' ] || { echo "the bridge is not the interface that they leave by any more" >&2; exit 1; }
