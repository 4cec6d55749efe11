#!/usr/bin/env bash
# The conntrack table drops flows long before nf_conntrack_max when it has few buckets, and the counter of drops stays at 0.
#
# Guess: with nf_conntrack_max raised and nf_conntrack_buckets left as it was, lookups take longer, and nothing is lost before
# the count reaches the limit; what is lost then is the counter drop of "conntrack -S".
# Seen: since Linux 5.15 a new flow whose bucket holds more than 50 to 130 entries (drawn at random for each flow) is
# dropped. With 1,024 buckets, where each flow has an entry in two, losses begin at about 17,000 flows, and of 60,000 a third are
# lost, with a limit of 1,000,000. drop is 0; chaintoolong and insert_failed count them. So the room of a table is the limit
# or about 16 flows for each bucket, whichever is less.
# Seen with Debian's linux-image-6.12.117+deb12-amd64 in a guest; conntrack 1.4.7 and nftables 1.0.6. Source:
# __nf_conntrack_confirm() in net/netfilter/nf_conntrack_core.c.
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
	nft 'table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }'
	sysctl -qw net.netfilter.nf_conntrack_buckets=1024
	sysctl -w net.netfilter.nf_conntrack_max=1000000
	sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600
	cat >flows.py <<-'END'
		import re, socket, subprocess, sys

		dropped, first, flows = 0, None, 60000
		for i in range(flows):
		    if i % 500 == 0:
		        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		        client.bind(("127.0.0.1", 20000 + i // 500))
		    try:
		        client.sendto(b"x", (f"127.0.{1 + i % 500 // 250}.{1 + i % 250}", 9))
		    except PermissionError:
		        dropped += 1
		        first = first or i


		def conntrack(option):
		    return subprocess.run(["conntrack", option], capture_output=True, text=True, check=True).stdout


		count = int(conntrack("-C"))
		counters = {name: sum(map(int, re.findall(rf"\b{name}=(\d+)", conntrack("-S")))) for name in ("drop", "insert_failed", "chaintoolong")}
		print(f"of {flows} flows {dropped} are dropped, the first one after {first}; entries: {count}; {counters}")
		usual = 12000 < first < 25000 and 10000 < dropped < 35000 and count == flows - dropped
		if not usual or counters != {"drop": 0, "insert_failed": dropped, "chaintoolong": dropped}:
		    sys.exit("the behaviour has changed")
	END
	python3 flows.py
GUEST
