#!/usr/bin/env bash
# A conntrack entry whose time is over is still counted, and its DESTROY event comes up to a minute late, while its port is
# free at once.
#
# Guess: an entry that times out is gone at that moment: nf_conntrack_count goes down, the DESTROY event is sent, and the
# port is given back.
# Seen: no timer belongs to an entry. A sweep of the table, every minute where it is quiet, removes what is over, and counts
# and events wait for it. A new flow that needs the port of an entry that is over gets it at once. So the count is too high
# by all that timed out within the last minute, which for DNS may be more than all live flows; a lifetime computed from NEW
# and DESTROY is up to a minute too long; and a NAT that looks full gives out ports. Whoever lists the table sweeps it too,
# so that the count depends on how often somebody looks.
# Seen with Debian's linux-image-6.12.117+deb12-amd64 in a guest; conntrack 1.4.7 and nftables 1.0.6. Source: gc_worker() and
# nf_conntrack_tuple_taken() in net/netfilter/nf_conntrack_core.c.
#
# Debian 12, as root. All traffic stays in a guest without a network. Fails if the behaviour changes.
set -euo pipefail
cd "$(dirname "$0")"
. ./guest.bash

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

guest 6.12 <<-'GUEST'
	echo "Linux $(uname -r), $(conntrack --version)"
	ip link set lo up
	ip address add 10.0.0.1/8 dev lo
	nft 'table ip t { chain c { type nat hook postrouting priority srcnat; ip protocol udp ip saddr 10.1.0.0/16 snat to 10.0.0.1:2000-2031; }; }'
	sysctl -qw net.netfilter.nf_conntrack_udp_timeout=5
	cat >flows.py <<-'END'
		import socket, subprocess, sys, threading, time

		monitor = subprocess.Popen(["conntrack", "-E", "-e", "NEW,DESTROY", "-p", "udp"], stdout=subprocess.PIPE)
		events = []
		threading.Thread(target=lambda: [events.append(line) for line in iter(monitor.stdout.readline, b"")], daemon=True).start()


		def send(client):
		    """Whether a packet of the client gets through: a new flow to the one destination."""
		    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
		        s.bind((client, 5000))
		        try:
		            s.sendto(b"x", ("10.0.0.9", 9))
		            return True
		        except PermissionError:
		            return False


		def state():
		    count = int(subprocess.run(["conntrack", "-C"], capture_output=True, check=True).stdout)
		    return count, sum(b"[DESTROY]" in line for line in events)


		# A sweep may come at any time, and then there is a minute until the next one.
		for attempt in range(4):
		    while state()[0] > 0:
		        time.sleep(0.5)
		    del events[:]
		    began = time.monotonic()
		    opened, more = sum(send(f"10.1.0.{i}") for i in range(1, 33)), send("10.1.0.99")
		    if time.monotonic() - began > 4:
		        continue
		    time.sleep(10)
		    count, ended = state()
		    if count == 32:
		        break
		given = send("10.1.1.1")
		print(f"32 ports, flows of 5 s: {opened} are let through, one more {'too' if more else 'is dropped'}")
		print(f"5 s after their end: {count} entries are counted, {ended} are told to have ended; one more is {'let through' if given else 'dropped'}")
		while state()[0] > 1:
		    time.sleep(0.5)
		print(f"the sweep came {time.monotonic() - began - 5:.0f} s after their end", flush=True)
		monitor.kill()
		if (opened, more, count, ended, given) != (32, False, 32, 0, True):
		    sys.exit("the behaviour has changed")
	END
	python3 flows.py
GUEST
