#!/usr/bin/env bash
# The counter "insert" of conntrack's statistics does not count the flows that are inserted.
#
# Guess: insert of "conntrack -S", which exporters show as node_nf_conntrack_stat_insert, is how many entries were put
# into the table, so that its rate is that of new flows, and insert_failed divided by insert the share of those that
# failed.
# Seen: thirty new flows leave it at 0; it counts entries that a program adds by netlink, such as "conntrack -I" or
# conntrackd. On a gateway it is 0 for ever, and the share of failures is a division by zero. Columns "new" and "delete"
# of /proc/net/stat/nf_conntrack are always 0 as well. New flows have to be counted from events or from the entries.
# Seen with conntrack 1.4.7 of Debian 12, on Linux 6.18 and Debian's 6.1.0-57. Source: nf_conntrack_hash_check_insert()
# in net/netfilter/nf_conntrack_core.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
conntrack --version
echo "Linux $(uname -r)"

unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
nft 'table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }'
# inserted prints the sum of the CPUs' counters.
inserted() { conntrack -S | grep -o ' insert=[0-9]*' | awk -F= '{ n += $2 } END { print n }'; }
for i in $(seq 30); do exec {open}>"/dev/udp/127.0.0.1/$((5000 + i))" && echo x >&"$open"; done
flows=$(conntrack -C)
opened=$(inserted)
for port in 1 2 3; do conntrack -I -p udp -s 10.0.0.1 -d 10.0.0.9 --sport "$port" --dport 53 -t 30 2>/dev/null; done
added=$(inserted)
echo "$flows flows opened: insert is $opened. 3 more added by conntrack -I, $(conntrack -C) in all: insert is $added."
[ "$flows $opened $added" = '30 0 3' ] || { echo 'the behaviour has changed'; exit 1; }
INSIDE
