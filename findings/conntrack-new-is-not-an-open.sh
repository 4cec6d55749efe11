#!/usr/bin/env bash
# A NEW event of conntrack does not mean that a connection opened.
#
# Guess: counting the NEW events of "conntrack -E" counts the connections that open, and each has the state SYN_SENT.
# Seen: after a flush of the table ("conntrack -F", which tools call when rules or services change) the next packet of
# each old connection makes a new entry and a NEW event in state ESTABLISHED, as nf_conntrack_tcp_loose is 1 unless
# changed. A counter of NEW events then counts every live connection again. The state tells: one that opens is SYN_SENT.
# Seen with Linux 6.18 and conntrack 1.4.7 (Debian 12): 20 opens gave 20 events in SYN_SENT, a flush and one byte on
# each gave 20 more in ESTABLISHED. Source: tcp_new() in net/netfilter/nf_conntrack_proto_tcp.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in nft:nftables ip:iproute2 conntrack:conntrack python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r), $(conntrack --version)"

ns=opens-$$
trap 'ip netns del "$ns"' EXIT
ip netns add "$ns"
ip -n "$ns" link set lo up
ip netns exec "$ns" nft -f - <<-'END'
	table ip t {
		chain c { type filter hook input priority 0; ct state established accept; }
	}
END
ip netns exec "$ns" python3 - <<'END'
import collections, re, socket, subprocess, sys, threading, time

count = 20
states = collections.Counter()
events = subprocess.Popen(["conntrack", "-E", "-e", "NEW", "-p", "tcp"], stdout=subprocess.PIPE, text=True, bufsize=1)


def read():
    for line in events.stdout:
        if m := re.search(r"\[NEW\] tcp +6 \d+ (\w+)", line):
            states[m[1]] += 1


def wait(for_what, until):
    for _ in range(600):
        if until():
            return
        time.sleep(0.1)
    sys.exit(f"waited a minute for {for_what}: {dict(states)}; the behaviour has changed")


threading.Thread(target=read, daemon=True).start()
server = socket.create_server(("127.0.0.1", 8080), backlog=count)
pairs = []


def connect():
    client = socket.create_connection(("127.0.0.1", 8080))
    return client, server.accept()[0]


def heard():  # conntrack -E tells of events once it listens
    connect()
    return states["SYN_SENT"] > 0


wait("the first event", heard)
time.sleep(1)
states.clear()
pairs = [connect() for _ in range(count)]
wait("events of the opens", lambda: states["SYN_SENT"] >= count)
opened = dict(states)
subprocess.run(["conntrack", "-F"], check=True, capture_output=True)
for client, peer in pairs:
    client.sendall(b"x")
    peer.recv(1)
wait("events of old connections", lambda: states["ESTABLISHED"] >= count)
print(f"{count} opens: NEW events {opened}")
print(f"after a flush and a byte on each, nothing opened: NEW events {dict(states)}")
events.terminate()
if opened != {"SYN_SENT": count}:
    sys.exit("the opens gave other events: the behaviour has changed")
END
