#!/usr/bin/env bash
# nfdump's time window leaves out every flow that was open when the window began or when it ended.
#
# Guess: "nfdump -t 12:00-12:05" shows the flows that were open at some time from 12:00 to 12:05, or those that began
# then, so that windows one after the other cover all flows.
# Seen: it shows the flows that began and ended within the window. A flow that crosses an end of it is in neither of the
# two windows, and a flow longer than a window is in none. A count of flows per minute of a log then has all the short
# ones and none of those that hold a port for minutes, which is the number that was wanted.
# Seen with nfdump 1.7.1 of Debian 12.
#
# Needs Debian with apt, as root to install. Uses UDP on loopback of a network namespace only. Fails if the behaviour
# changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nfdump:nfdump nfcapd:nfdump python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
nfdump -V | sed -n 1p

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export TZ=UTC
unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import os
import socket
import struct
import subprocess
import sys
import time

NOON = 1600000000 // 86400 * 86400 + 43200
UPTIME = 10_000_000  # of the exporter at noon, in ms
# Source ports of TCP flows, and the seconds from noon at which they began and ended: within the first minute, across
# its end, within the second minute, and from before the first one to after the second one.
FLOWS = {1001: (10, 20), 1002: (50, 70), 1003: (80, 90), 1004: (-60, 180)}


def netflow():
    """The flows as a datagram of NetFlow 5."""
    packet = struct.pack(">HHIIIIBBH", 5, len(FLOWS), UPTIME, NOON, 0, 0, 0, 0, 0)
    for port, times in FLOWS.items():
        packet += struct.pack(">IIIHHII", 0x0A000005, 0xCB007107, 0, 0, 0, 10, 1000)
        packet += struct.pack(">II", *(UPTIME + 1000 * t for t in times))
        packet += struct.pack(">HHBBBBHHBBH", port, 443, 0, 0x13, 6, 0, 0, 0, 0, 0, 0)
    return packet


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    sys.exit("waited in vain for nfcapd")


def queue():
    """The fields of nfcapd's socket: the second is how many bytes it has not read yet."""
    return run("ss", "-Hlun", "sport", "=", ":9995").split()


collector = subprocess.Popen(["nfcapd", "-w", ".", "-p", "9995", "-t", "3600"], stderr=subprocess.DEVNULL)
wait_for(queue)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
    exporter.sendto(netflow(), ("127.0.0.1", 9995))
wait_for(lambda: queue()[1] == "0")
collector.terminate()
collector.wait()
(name,) = (n for n in os.listdir() if n.startswith("nfcapd.2"))


def window(*minutes):
    """The source ports of the flows that nfdump shows from one minute after noon to another, of all without minutes."""
    times = [time.strftime("%Y/%m/%d.%H:%M:%S", time.gmtime(NOON + 60 * m)) for m in minutes]
    limits = ["-t", "-".join(times)] if times else []
    out = run("nfdump", "-q", "-r", name, "-o", "fmt:%sp", *limits)
    return [int(line) for line in out.split() if line.isdigit()]


shown = window(), window(0, 1), window(1, 2), window(0, 2)
for title, ports in zip(("all flows", "12:00 to 12:01", "12:01 to 12:02", "12:00 to 12:02"), shown):
    print(f"{title}: {', '.join(f'{p} ({FLOWS[p][0]} s to {FLOWS[p][1]} s)' for p in ports)}")
if shown != ([1001, 1002, 1003, 1004], [1001], [1003], [1001, 1002, 1003]):
    sys.exit("the behaviour has changed")
PYTHON
