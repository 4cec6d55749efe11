#!/usr/bin/env bash
# softflowd dates the flows of a capture file by a whole number of 49.7 days wrong.
#
# Guess: softflowd -r gives each flow the times of its packets, whichever version of NetFlow carries them.
# Seen: a capture of an hour ago has its own times by NetFlow 5 and lies 49.7 days ahead, in the future, by NetFlow 9; one of September
# 2020 lies within the last 50 days by NetFlow 5, and in the future by NetFlow 9. All are off by a whole number of 2^32 ms, and
# durations are right: NetFlow counts milliseconds of the exporter's uptime in 32 bits, and of a replay that goes round. So a
# peak in such a log has the right height and the wrong date, and two logs cannot be laid side by side.
# Seen with softflowd 1.1.0 and nfdump 1.7.1 of Debian 12.
#
# Needs Debian with apt, as root to install. Uses UDP on loopback only. Fails if the behaviour changes.
set -euo pipefail

PATH=$PATH:/usr/sbin
missing=()
for program in nfdump nfcapd softflowd; do command -v "$program" >/dev/null || missing+=("$program"); done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends nfdump softflowd >/dev/null
fi
nfdump -V | head -1

work=$(mktemp -d)
collector=
trap '[ -z "$collector" ] || kill "$collector" 2>/dev/null || true; rm -rf "$work"' EXIT

# le N BYTES prints N as bytes, the lowest first; be the highest first.
le() { local i; for ((i = 0; i < $2; i++)); do printf "\\x$(printf %02x $(($1 >> (8 * i) & 255)))"; done; }
be() { local i; for ((i = $2 - 1; i >= 0; i--)); do printf "\\x$(printf %02x $(($1 >> (8 * i) & 255)))"; done; }
zeros() { head -c "$1" /dev/zero; }
# packet SECONDS FLAGS prints a TCP segment of 10.0.0.5:40000 to 203.0.113.7:443.
packet() {
	le "$1" 4; le 0 4; le 54 4; le 54 4
	zeros 12; be 0x0800 2
	be 0x4500 2; be 40 2; be 1 2; be 0 2; be 0x4006 2; be 0 2; be 0x0a000005 4; be 0xcb007107 4
	be 40000 2; be 443 2; be 1 4; be 1 4; be 0x50 1; be "$2" 1; be 65535 2; be 0 4
}
# row FIRST VERSION prints start, in seconds since 1970, and duration of a flow that began at FIRST, as nfdump reads them.
row() {
	local port=$((20000 + RANDOM % 10000)) dir=$work/$1-$2 file start duration
	mkdir "$dir" "$dir/flows"
	{
		le 0xa1b2c3d4 4; le 2 2; le 4 2; zeros 8; le 65535 4; le 1 4
		packet "$1" 2
		packet $(($1 + 4)) 17
	} >"$dir/pcap"
	nfcapd -w "$dir/flows" -b 127.0.0.1 -p "$port" -t 3600 >"$dir/log" 2>&1 &
	collector=$!
	sleep 2
	softflowd -r "$dir/pcap" -v "$2" -n "127.0.0.1:$port" -d >"$dir/softflowd.log" 2>&1
	sleep 2
	kill "$collector"
	wait "$collector" || true
	collector=
	file=$(find "$dir/flows" -name 'nfcapd.*' | head -1)
	IFS=, read -r start duration < <(TZ=UTC nfdump -r "$file" -o csv -q | grep 203.0.113.7 | cut -d, -f1,3)
	echo "$(date -u -d "$start" +%s) $duration" >"$dir/row"
}

changed=
now=$(date +%s)
for first in $((now - 3600)) 1600000001; do
	echo "a capture that begins $(date -u -d @"$first" '+%F %T'):"
	for version in 5 9; do
		row "$first" $version
		read -r start duration <"$work/$first-$version/row"
		rounds=$((((start - first) * 1000 + 2147483648) / 4294967296))
		off=$((start - first - rounds * 4294967296 / 1000))
		echo "  by NetFlow $version $(date -u -d @"$start" '+%F %T'), $duration s: $rounds times 2^32 ms and $off s late"
		[[ ${off#-} -le 2 && $duration == 4.000 ]] || changed=yes
		case $version in
		5) [[ $start -le $now && ($rounds -gt 0 || $first -gt 1600000001) ]] || changed=yes ;;
		9) [[ $start -gt $now && $rounds -gt 0 ]] || changed=yes ;;
		esac
	done
done
if [ -n "$changed" ]; then
	echo 'the behaviour has changed'
	exit 1
fi
