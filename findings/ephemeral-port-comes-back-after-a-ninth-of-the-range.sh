#!/usr/bin/env bash
# An ephemeral port comes back after a ninth of the range, though most ports of the range were not used.
#
# Guess: of 8,000 ephemeral ports the same one is taken again 8,000 connections later, or at least once most others were
# taken: whoever looks at connections every few seconds misses none unless thousands open in between.
# Seen: connect() walks the range for each destination in random steps of 2 to 16 ports, 9 on average, and starts again
# at its end. Ports that closed by RST are free at once, so the five-tuple of a connection comes back after about 890
# others, and again and again, while thousands of ports were never taken. Odd ports are not taken at all.
# Seen with Linux 6.18: 8,000 connections, one after the other, went round the range 9 times; the first port came back
# after 850 to 950 connections, when 7,100 ports had not been used. Source: __inet_hash_connect() in
# net/ipv4/inet_hashtables.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r)"

ns=comes-back-$$
trap 'ip netns del "$ns"' EXIT
ip netns add "$ns"
ip -n "$ns" link set lo up
ip netns exec "$ns" python3 - <<'END'
import socket, sys

count = 8000
with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as f:
    f.write(f"20000 {20000 + count - 1}")
server = socket.create_server(("127.0.0.1", 8080), backlog=100)


def port_of_one():
    client = socket.create_connection(("127.0.0.1", 8080))
    peer, _ = server.accept()
    port = client.getsockname()[1]
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()  # by RST: no TIME_WAIT
    peer.close()
    return port


ports = [port_of_one() for _ in range(count)]
last, back = {}, []
for i, port in enumerate(ports):
    if port in last:
        back.append((i - last[port], i))
    last[port] = i
soonest, first = min(back)[0], back[0][1]
rounds = sum(b < a for a, b in zip(ports, ports[1:]))
odd = sum(port % 2 for port in ports)
print(f"{count} connections, one after the other, over {count} ports: {rounds} rounds, {len(last)} ports taken, {odd} of them odd")
print(f"the first port came back at connection {first}, when {count - first} ports or more had not been taken; the soonest after {soonest}")
if not (8 <= rounds <= 10 and soonest < count / 8 and first < count / 2 and odd == 0):
    sys.exit("the behaviour has changed")
END
