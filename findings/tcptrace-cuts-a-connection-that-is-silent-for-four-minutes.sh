#!/usr/bin/env bash
# tcptrace makes two connections of one that is silent for more than four minutes.
#
# Guess: tcptrace, as it reads a whole capture, takes as one connection what lies between its SYN and its FINs, and its elapsed time
# is the lifetime; a pause only shows as idletime max.
# Seen: a segment that comes more than 240 s after the one before begins another connection, though it is neither a SYN nor out of
# sequence. The first part is one that never closed, with no FIN, and the second one that never opened. No connection with a longer
# pause is in the list, and the longest idle time it can show is the usual idle limit of a cloud's NAT: who looks for connections that such a
# limit would cut finds none, and twice as many short ones. tshark sees one connection in the same file.
# Seen with tcptrace 6.6.7 and tshark 4.0 of Debian 12.
#
# Debian, as root to install. Fails if the behaviour changes.
set -euo pipefail

missing=()
for program in tcptrace tshark python3; do command -v "$program" >/dev/null || missing+=("$program"); done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
dpkg-query -W -f '${Package} ${Version}\n' tcptrace tshark

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >capture.py <<'END'
"""Writes a capture of TCP segments between 10.0.0.5 and 203.0.113.7:443."""
import struct
import sys

START = 1600000000
packets = []


def segment(at, out, port, flags, seq, ack, length=0):
    ends = [(0x0A000005, port), (0xCB007107, 443)]
    (source, source_port), (target, target_port) = ends if out else ends[::-1]
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 40 + length, 1, 0, 64, 6, 0, source, target)
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    ip = ip[:10] + struct.pack(">H", ~total & 0xFFFF) + ip[12:]
    tcp = struct.pack(">HHIIBBHHH", source_port, target_port, seq, ack, 0x50, flags, 65535, 0, 0)
    packets.append((at, bytes(12) + b"\x08\0" + ip + tcp + b"x" * length))


def connection(port, begin, end, talks=(), base=100):
    """A handshake at begin, ten bytes each way at each of the talks, and FINs at end. Times are seconds from the start."""
    segment(begin, True, port, 2, base, 0)
    segment(begin + 0.1, False, port, 18, 7000, base + 1)
    segment(begin + 0.2, True, port, 16, base + 1, 7001)
    sent = 0
    for at in talks:
        segment(at, True, port, 24, base + 1 + sent, 7001 + sent, 10)
        segment(at + 0.1, False, port, 24, 7001 + sent, base + 11 + sent, 10)
        sent += 10
    segment(end, True, port, 17, base + 1 + sent, 7001 + sent)
    segment(end + 0.1, False, port, 17, 7001 + sent, base + 2 + sent)
    segment(end + 0.2, True, port, 16, base + 2 + sent, 7002 + sent)


pause = int(sys.argv[2])
connection(41000, 0, pause + 10, [5, 5.2 + pause])
packets.sort(key=lambda p: p[0])
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for at, data in packets:
        ms = round(at * 1000)
        file.write(struct.pack("<IIII", START + ms // 1000, ms % 1000 * 1000, len(data), len(data)) + data)
END
changed=
for pause in 230 239 241 300; do
	python3 capture.py capture $pause
	# Lines such as "  1: 10.0.0.5:41000 - 203.0.113.7:443 (a2b)    6>    4<  (complete)".
	found=$(tcptrace -n capture 2>/dev/null | sed -n 's/^ *[0-9]*: .*(\([a-z]2[a-z]\)) *\([0-9]*\)> *\([0-9]*\)<\(.*\)$/\2 and \3 segments\4/p')
	streams=$(tshark -r capture -T fields -e tcp.stream 2>/dev/null | sort -u | wc -l)
	echo "a pause of $pause s: $(wc -l <<<"$found") connection(s): ${found//$'\n'/; }. tshark: $streams"
	want=1
	[ $pause -lt 240 ] || want=2
	[[ $(wc -l <<<"$found") == "$want" && $streams == 1 ]] || changed=yes
done
if [ -n "$changed" ]; then
	echo 'the behaviour has changed'
	exit 1
fi
