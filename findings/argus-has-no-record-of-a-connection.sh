#!/usr/bin/env bash
# argus has no record of a connection: its own are of five seconds at most, and racluster joins connections.
#
# Guess: ra prints a line for each flow, with its duration, and racluster, which merges the status records of long flows, gives one line for
# each connection.
# Seen: argus writes a record every five seconds in which a packet came, each with the duration of its own packets: a connection of
# 100 s that talks every 10 s is eleven records of 0.1 and 0.2 s, and the last one of a connection that was silent for five minutes has the
# direction <?>, as the client is not known any more. racluster joins by address and port, whatever lies between: two connections of one
# port, closed by FINs, with 15 s in between, are one of 25 s, though each began with a SYN. The count of records merged (trans)
# does not tell the two cases apart. So neither of both gives how many connections there were, nor how long they lived.
# Seen with argus-server 3.0.8.2 and argus-client 3.0.8.2 of Debian 12.
#
# Debian, as root to install. Fails if the behaviour changes.
set -euo pipefail

PATH=$PATH:/usr/sbin
missing=()
for pair in argus:argus-server ra:argus-client python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
dpkg-query -W -f '${Package} ${Version}\n' argus-server argus-client

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


connection(41001, 0, 100, range(10, 100, 10))
connection(41002, 0, 300)
connection(41003, 0, 2)
connection(41003, 17, 25, base=900001)
packets.sort(key=lambda p: p[0])
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for at, data in packets:
        ms = round(at * 1000)
        file.write(struct.pack("<IIII", START + ms // 1000, ms % 1000 * 1000, len(data), len(data)) + data)
END
python3 capture.py capture
argus -F /dev/null -r capture -w flows
# seen PROGRAM prints port, records, the longest duration and the directions of each port.
seen() {
	"$1" -F /dev/null -n -r flows -c, -s sport dur dir trans - tcp | awk -F, -v program="$1" '
		$1 ~ /^41/ {
			records[$1]++; if ($2 > longest[$1]) longest[$1] = $2
			gsub(" ", "", $3); direction[$1] = $3; trans[$1] = $4
		}
		END {
			for (p = 41001; p <= 41003; p++)
				printf "%s, port %d: %d record(s), the longest of %.1f s, the last one %s%s\n", program, p, records[p], longest[p],
					direction[p], program == "ra" ? "" : ", trans " trans[p]
		}'
}
{
	seen ra
	seen racluster
} | tee seen
cat >expected <<'END'
ra, port 41001: 11 record(s), the longest of 0.2 s, the last one ->
ra, port 41002: 2 record(s), the longest of 0.2 s, the last one <?>
ra, port 41003: 3 record(s), the longest of 2.2 s, the last one ->
racluster, port 41001: 1 record(s), the longest of 100.2 s, the last one ->, trans 11
racluster, port 41002: 1 record(s), the longest of 300.2 s, the last one ->, trans 2
racluster, port 41003: 1 record(s), the longest of 25.2 s, the last one ->, trans 3
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
