#!/usr/bin/env bash
# An uplink that is down for a moment ends every connection masqueraded with random ports, and none under snat.
#
# Guess: a link that flaps for a third of a second costs a retransmission. NAT is decided once for a flow, and the kind of
# rule makes no difference; the address of the interface is the same before and after.
# Seen: masquerade forgets all its entries of an interface as that goes down. The next packet in the middle of the connection
# begins a new entry. With plain masquerade that mostly gets the client's own port again, as before, and nobody notices. With
# fully-random, as kube-proxy and CNI plugins have it (--random-fully), it gets another one, the server knows no such
# connection and answers RST. Under snat the entry stays, and so does the connection. So who wants long connections to outlive
# a flap uses snat to the address, and a gateway whose entries fall to nothing at once had a link that went down.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: net/netfilter/nf_nat_masquerade.c.
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
echo "Linux $(uname -r), $(nft --version), $(conntrack --version)"

gateway=flap-gateway-$$ client=flap-client-$$ server=flap-server-$$
trap 'for n in "$gateway" "$client" "$server"; do ip netns del "$n" 2>/dev/null || true; done' EXIT
for n in "$gateway" "$client" "$server"; do ip netns add "$n"; ip -n "$n" link set lo up; done
ip -n "$gateway" link add in0 type veth peer name eth0 netns "$client"
ip -n "$gateway" link add out0 type veth peer name eth0 netns "$server"
ip -n "$gateway" address add 10.9.0.1/24 dev in0
ip -n "$gateway" address add 203.0.113.1/24 dev out0
ip -n "$client" address add 10.9.0.2/24 dev eth0
ip -n "$server" address add 203.0.113.2/24 dev eth0
for end in "$gateway in0" "$gateway out0" "$client eth0" "$server eth0"; do
	ip -n "${end% *}" link set "${end#* }" up
done
ip -n "$client" route add default via 10.9.0.1
ip netns exec "$gateway" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'

# flap TARGET opens a connection, takes the uplink down and up, and prints how many entries were left in between and what
# became of the connection.
flap() {
	ip netns exec "$gateway" nft -f - <<-END
		flush ruleset
		table ip n {
			chain post {
				type nat hook postrouting priority 100
				oifname "out0" $1
			}
		}
	END
	ip netns exec "$gateway" conntrack -F >/dev/null 2>&1
	ip netns exec "$server" python3 -c '
import socket, subprocess, sys, threading, time
gateway, client = sys.argv[1:]
listener = socket.create_server(("203.0.113.2", 8000))
asks = subprocess.Popen(["ip", "netns", "exec", client, "python3", "-c", """
import socket, sys
s = socket.create_connection(("203.0.113.2", 8000), 60)
for line in sys.stdin:
    try:
        s.send(b"x")
        print("lives" if s.recv(1) else "closed", flush=True)
    except ConnectionResetError:
        print("reset", flush=True)
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
c = listener.accept()[0]
def echo():
    while c.send(c.recv(1)):
        pass
threading.Thread(target=echo, daemon=True).start()
def ask():
    asks.stdin.write("\n")
    asks.stdin.flush()
    return asks.stdout.readline().strip()
def run(command):
    return subprocess.run(["ip", "netns", "exec", gateway, "sh", "-c", command], capture_output=True, text=True).stdout
assert ask() == "lives"
run("ip link set out0 down")
for i in range(20): # the kernel forgets them in a moment, on a thread of its own
    left = run("conntrack -L -p tcp 2>/dev/null | wc -l").strip()
    if left == "0":
        break
    time.sleep(0.1)
run("ip link set out0 up")
print(left, ask())
asks.kill()
' "$gateway" "$client"
}

plain=$(flap masquerade) random=$(flap 'masquerade fully-random') snat=$(flap 'snat to 203.0.113.1 fully-random')
echo "entries while the link was down, and the connection afterwards:"
echo "masquerade: $plain; masquerade fully-random: $random; snat fully-random: $snat"
[ "$plain" = '0 lives' ] || { echo "masquerade keeps its entries, or the port is another" >&2; exit 1; }
[ "$random" = '0 reset' ] || { echo "a connection with a random port outlives the flap now" >&2; exit 1; }
[ "$snat" = '1 lives' ] || { echo "snat forgets its entries now" >&2; exit 1; }
