#!/usr/bin/env bash
# Each "ufw reload" adds the rules for NAT once more, and "ufw disable" leaves them in force.
#
# Guess: ufw loads the rules of /etc/ufw/before.rules, its place for a nat table, when it starts, replaces them when it
# reloads, and takes them away when it is disabled, as it does with its filter rules.
# Seen: it takes back its filter rules alone. After two reloads a masquerade rule is there three times, and all three
# are there when the firewall is "stopped and disabled". So who reads the rules to learn what a gateway gives out finds
# one more with each reload, and the counters of all but the first stay at 0. "-F POSTROUTING" at the top of the table
# helps.
# Seen with ufw 0.36.2 and iptables 1.8.9 of Debian 12.
#
# Debian, as root. Everything stays in network and mount namespaces of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 ufw:ufw iptables:iptables; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
ufw version | sed -n 1p
iptables --version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A copy of its own of the configuration, which the commands below change.
cp -a /etc/ufw "$work"
cat - /etc/ufw/before.rules >"$work/ufw/before.rules" <<'END'
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 10.8.0.0/24 -j MASQUERADE
COMMIT
END
sed -i s/^ENABLED=.*/ENABLED=no/ "$work/ufw/ufw.conf"

unshare --mount --net bash -euo pipefail -s "$work/ufw" <<'INSIDE'
mount --bind "$1" /etc/ufw
ip link set lo up
# after WANTED COMMAND runs a command of ufw, and prints how many rules there are after it. WANTED of them masquerade.
changed=
after() {
	local wanted=$1 said masquerade filter
	shift
	said=$(ufw --force "$@" 2>&1 | tail -n 1)
	masquerade=$(iptables -t nat -S POSTROUTING | grep -c MASQUERADE || true)
	filter=$(iptables -S | grep -c '^-A' || true)
	echo "ufw $*: \"$said\": masquerade rules $masquerade, filter rules $filter"
	[ "$masquerade" = "$wanted" ] || changed=yes
	[ "$1" != enable ] || enabled=$filter
	[ "$1" != reload ] || [ "$filter" = "$enabled" ] || changed=yes
}
after 1 enable
after 2 reload
after 3 reload
after 3 disable
[ -z "$changed" ] || { echo 'the behaviour has changed'; exit 1; }
INSIDE
