#!/usr/bin/env bash
# softflowd and nfpcapd make one flow of two TCP connections that had the same ports one after the other.
#
# Guess: a flow of an exporter that knows TCP ends with a reset or with the FINs, and the next SYN begins another; so its duration is
# that of a connection.
# Seen: a connection that is reset after 2 s and one that opens 20 s later from the same port are one flow of 25 s, whose flags
# are those of both, in the output of softflowd and of nfpcapd alike: the entry outlives the reset, and what comes meanwhile is
# added to it. After FINs of both ends it is the same. So the longest lifetimes of such a log may be of clients that use their
# ports again soon: Linux gives a port to the next connection as soon as a reset frees it.
# Seen with softflowd 1.1.0 and nfdump 1.7.1 of Debian 12.
#
# Needs Debian with apt, as root to install. Uses UDP on loopback only. Fails if the behaviour changes.
set -euo pipefail

PATH=$PATH:/usr/sbin
missing=()
for program in nfdump nfcapd nfpcapd softflowd; do command -v "$program" >/dev/null || missing+=("$program"); done
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
# packet DIRECTION SECONDS FLAGS SEQUENCE ACKNOWLEDGED prints a TCP segment of 10.0.0.5:40000 to 203.0.113.7:443, or back.
packet() {
	local from=0x0a000005 to=0xcb007107 ports='40000 443'
	[ "$1" = out ] || from=0xcb007107 to=0x0a000005 ports='443 40000'
	le "$2" 4; le 0 4; le 54 4; le 54 4
	zeros 12; be 0x0800 2
	be 0x4500 2; be 40 2; be 1 2; be 0 2; be 0x4006 2; be 0 2; be $from 4; be $to 4
	be ${ports% *} 2; be ${ports#* } 2; be "$4" 4; be "$5" 4; be 0x50 1; be "$3" 1; be 65535 2; be 0 4
}
syn=2 rst=4 ack=16
# opening SECONDS BASE prints a handshake.
opening() {
	packet out "$1" $syn "$2" 0
	packet in "$1" $((syn | ack)) 7000 $(($2 + 1))
	packet out "$1" $ack $(($2 + 1)) 7001
}
# closing SECONDS BASE prints FINs of both ends, and their acknowledgements.
closing() {
	packet out "$1" $((1 | ack)) $(($2 + 1)) 7001
	packet in "$1" $((1 | ack)) 7001 $(($2 + 2))
	packet out "$1" $ack $(($2 + 2)) 7002
}
# capture END writes two connections of one tuple: from 1 s to 3 s, which ends with END, and from 23 s to 26 s.
capture() {
	le 0xa1b2c3d4 4; le 2 2; le 4 2; zeros 8; le 65535 4; le 1 4
	opening 1600000001 1
	if [ "$1" = RST ]; then packet out 1600000003 $rst 2 0; else closing 1600000003 1; fi
	opening 1600000023 900001
	closing 1600000026 900001
}

changed=
# look NAME EXPORTER END TEXT compares what is printed of the flows in a folder with one flow of 25 s.
look() {
	local file flows
	file=$(find "$work/$1" -name 'nfcapd.*' | head -1)
	flows=$(nfdump -r "$file" -o csv -q | grep 10.0.0.5,203.0.113.7 | cut -d, -f3,9)
	echo "$2, the first connection ends with $3: $(wc -l <<<"$flows") flow(s), duration and flags ${flows//$'\n'/ and }"
	[[ $flows == 25.000,*S* && $(wc -l <<<"$flows") == 1 ]] || changed=yes
}
for end in RST FIN; do
	capture $end >"$work/$end.pcap"

	mkdir "$work/soft-$end" "$work/nfpcapd-$end"
	port=$((20000 + RANDOM % 10000))
	nfcapd -w "$work/soft-$end" -b 127.0.0.1 -p "$port" -t 3600 >"$work/log" 2>&1 &
	collector=$!
	sleep 2
	softflowd -r "$work/$end.pcap" -v 9 -n "127.0.0.1:$port" -d >"$work/softflowd.log" 2>&1
	sleep 2
	kill "$collector"
	wait "$collector" || true
	collector=
	look "soft-$end" softflowd $end

	nfpcapd -r "$work/$end.pcap" -w "$work/nfpcapd-$end" -t 3600 >"$work/log" 2>&1
	look "nfpcapd-$end" nfpcapd $end
done
if [ -n "$changed" ]; then
	echo 'the behaviour has changed'
	exit 1
fi
