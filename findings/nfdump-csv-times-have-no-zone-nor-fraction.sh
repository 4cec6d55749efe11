#!/usr/bin/env bash
# nfdump's CSV gives times of the reader's own zone, without saying which, and cuts them to whole seconds.
#
# Guess: a machine-readable export prints the same bytes everywhere, in UTC or with an offset, and te - ts is td.
# Seen: the same file printed under two time zones has other values in ts and te, and nothing in the row tells them apart. ts
# and te have whole seconds where td has milliseconds: a flow of 1.6 s reads as one of 1 or 2 s by its ends. So lifetimes
# must be taken from td, and the zone of the machine that printed must be known.
# Seen with nfdump 1.7.1 and softflowd 1.1.0 of Debian 12.
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
mkdir "$work/flows"

# le N BYTES prints N as bytes, the lowest first; be the highest first.
le() { local i; for ((i = 0; i < $2; i++)); do printf "\\x$(printf %02x $(($1 >> (8 * i) & 255)))"; done; }
be() { local i; for ((i = $2 - 1; i >= 0; i--)); do printf "\\x$(printf %02x $(($1 >> (8 * i) & 255)))"; done; }
zeros() { head -c "$1" /dev/zero; }
# packet SECONDS MICROSECONDS FLAGS prints a TCP segment of 10.0.0.5:40000 to 203.0.113.7:443.
packet() {
	le "$1" 4; le "$2" 4; le 54 4; le 54 4
	zeros 12; be 0x0800 2
	be 0x4500 2; be 40 2; be 1 2; be 0 2; be 0x4006 2; be 0 2; be 0x0a000005 4; be 0xcb007107 4
	be 40000 2; be 443 2; be 1 4; be 1 4; be 0x50 1; be "$3" 1; be 65535 2; be 0 4
}
{
	le 0xa1b2c3d4 4; le 2 2; le 4 2; zeros 8; le 65535 4; le 1 4
	packet 1600000001 250000 2
	packet 1600000002 850000 17
} >"$work/one.pcap"

port=$((20000 + RANDOM % 10000))
nfcapd -w "$work/flows" -b 127.0.0.1 -p "$port" -t 3600 >"$work/log" 2>&1 &
collector=$!
sleep 2
softflowd -r "$work/one.pcap" -v 9 -n "127.0.0.1:$port" -d >"$work/softflowd.log" 2>&1
sleep 2
kill "$collector"
wait "$collector" || true
collector=
file=$(find "$work/flows" -name 'nfcapd.*' | head -1)

row() { TZ=$1 nfdump -r "$file" -o csv -q | grep 203.0.113.7 | cut -d, -f1-5; }
utc=$(row UTC)
york=$(row America/New_York)
echo "under UTC:              $utc"
echo "under America/New_York: $york"
IFS=, read -r ts te td _ <<<"$utc"
echo "te - ts is $(($(date -u -d "$te" +%s) - $(date -u -d "$ts" +%s))) s, td is $td s"
if [ "$utc" = "$york" ] || [[ $ts == *.* ]] || [ "$td" != 1.600 ]; then
	echo 'the behaviour has changed'
	exit 1
fi
