#!/usr/bin/env bash
# A packet that adds an element to a map of nftables makes no new generation of the ruleset, nor does one that expires.
#
# Guess: whoever reads rules again when the generation is another one, or "nft monitor" says that something has changed,
# has them as they are.
# Seen: an element that "nft" adds makes a new generation, which the monitor tells. The same element added by a rule
# (update @map { … }) is in the map and translates, or runs out of time and is gone, and the monitor tells neither.
# Seen with Linux 6.18 and nftables 1.0.6 (Debian 12).
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in nft:nftables ip:iproute2; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r), $(nft --version)"

ns=no-generation-$$
dir=$(mktemp -d)
monitor=
trap '[ -z "$monitor" ] || kill "$monitor"; ip netns del "$ns"; rm -r "$dir"' EXIT
ip netns add "$ns"
ip -n "$ns" link set lo up
ip netns exec "$ns" nft -f - <<-END
table ip n {
	map vips {
		type ipv4_addr : ipv4_addr
		size 100
		flags dynamic,timeout
	}
	chain out {
		type filter hook output priority 0
		update @vips { ip daddr timeout 3s : 198.51.100.1 }
	}
}
END

wait_for() { # a minute for a command to succeed
	for _ in $(seq 600); do
		if "$@"; then return; fi
		sleep 0.1
	done
	echo "waited a minute for: $*" >&2
	exit 1
}
generations() { grep -c "new generation" "$dir/told" || true; }
has() { ip netns exec "$ns" nft list map ip n vips | grep -q "$1"; }
lacks() { ! has "$1"; }
told() { ip netns exec "$ns" nft add element ip n vips "{ 10.0.0.$((++n)) : 198.51.100.2 }"; [ "$(generations)" -gt 0 ]; }

ip netns exec "$ns" nft monitor >"$dir/told" &
monitor=$!
n=0
wait_for told
sleep 1 # what is on its way to the monitor arrives
before=$(generations)
ip netns exec "$ns" bash -c 'exec 3<>/dev/udp/127.0.0.1/9; echo x >&3' 2>/dev/null
wait_for has 127.0.0.1
echo "after a packet: 127.0.0.1 is in the map, $(($(generations) - before)) new generations"
wait_for lacks 127.0.0.1
sleep 1
after=$(generations)
echo "after 3 seconds: 127.0.0.1 is gone, $((after - before)) new generations"
more() { [ "$(generations)" -gt "$after" ]; }
ip netns exec "$ns" nft add element ip n vips "{ 10.1.0.1 : 198.51.100.2 }"
wait_for more
echo "after nft added one: $(($(generations) - after)) new generation"
[ "$after" = "$before" ] || { echo "there is a new generation now" >&2; exit 1; }
