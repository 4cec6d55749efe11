#!/usr/bin/env bash
# Flows that ulogd has no room to remember are logged without the time at which they began.
#
# Guess: ulogd's NFCT input either logs a flow with start and end, or says that its table (hash_max_entries, 8192 unless
# set) is full.
# Seen: with more flows open than the table holds it logs every flow at its end, but only those in the table have
# flow.start.sec. Its own log, at level info, says nothing of it. So from a busy gateway the lifetimes that can be
# computed are those of the flows that found room, and the rest looks like a parser's fault. Kernel timestamps
# (nf_conntrack_timestamp=1) do not change it in this mode.
# Seen with ulogd2 2.0.8 of Debian 12 on Linux 6.18.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack ulogd:ulogd2 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
dpkg -s ulogd2-json >/dev/null 2>&1 || missing+=(ulogd2-json)
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
ulogd --version | sed -n 1p
echo "Linux $(uname -r)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
plugins=$(dpkg -L ulogd2 | grep -m 1 '/ulogd_inpflow_NFCT.so$')
plugins=${plugins%/*}
cat >ulogd.conf <<END
[global]
logfile="$work/ulogd.log"
loglevel=3
plugin="$plugins/ulogd_inpflow_NFCT.so"
plugin="$plugins/ulogd_output_JSON.so"
stack=flows:NFCT,file:JSON
[flows]
hash_buckets=5
hash_max_entries=5
[file]
file="$work/flows.json"
sync=1
END
unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import atexit
import json
import os
import socket
import subprocess
import sys
import time

rules = "table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }"
subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
subprocess.run(["sysctl", "-qw", "net.netfilter.nf_conntrack_timestamp=1"], check=True)
ulogd = subprocess.Popen(["ulogd", "-c", "ulogd.conf"])
atexit.register(lambda: (ulogd.kill(), ulogd.wait()))


def log():
    with open("ulogd.log") as f:
        return f.read()


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    sys.exit("waited in vain for ulogd")


wait_for(lambda: os.path.exists("ulogd.log") and "entering main loop" in log())
started = log()
sockets = []
for _ in range(10):
    sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sockets[-1].sendto(b"x", ("127.0.0.1", 9))
time.sleep(2)
subprocess.run(["conntrack", "-F"], stderr=subprocess.DEVNULL, check=True)


def flows():
    with open("flows.json") as f:
        return f.read().splitlines()


wait_for(lambda: len(flows()) >= 10)
dated = ["flow.start.sec" in json.loads(line) for line in flows()]
print(f"10 flows, room for 5: {len(dated)} logged, {sum(dated)} of them with their start")
print("ulogd's own log since it started:", log()[len(started):] or "nothing")
if len(dated) != 10 or sum(dated) != 5 or log() != started:
    sys.exit("the behaviour has changed")
PYTHON
