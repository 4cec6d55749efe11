#!/usr/bin/env bash
# Unbound takes source ports that the kernel reserves, and those outside the kernel's range; BIND and dnsmasq do not.
#
# Guess: ip_local_port_range bounds the ports of everything that a machine sends, and what ip_local_reserved_ports names stays free for
# the service that is to listen there; the three resolvers, which all take a random port for each query, take it from there.
# Seen: Unbound chooses by itself, from a table of its own of about 60,000 ports from 1024 up, and binds to its choice, which the
# kernel lets pass. Of 1,000 queries on a machine with a range of 1,000 ports, about 980 leave from outside of it, and one in six
# from the 10,001 that are reserved. So a budget of local ports does not bound what a resolver sends through a NAT, a
# firewall's rule for the range drops its queries, and a service finds its reserved port taken. outgoing-port-permit and
# outgoing-port-avoid are Unbound's words for it.
# Seen with unbound 1.17.1, dnsmasq 2.90 and bind9 9.18.49 of Debian 12.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

PATH=$PATH:/usr/sbin
missing=()
for pair in ip:iproute2 unbound:unbound dnsmasq:dnsmasq-base named:bind9 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "unbound $(dpkg-query -W -f '${Version}' unbound), dnsmasq $(dpkg-query -W -f '${Version}' dnsmasq-base), bind9 $(dpkg-query -W -f '${Version}' bind9)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >unbound.conf <<END
server:
	interface: 127.0.0.1@5301
	do-daemonize: no
	username: ""
	chroot: ""
	pidfile: ""
	directory: "$work"
	use-syslog: no
	logfile: "unbound.log"
	do-not-query-localhost: no
	module-config: "iterator"
forward-zone:
	name: "."
	forward-addr: 127.0.0.1@5399
END
cat >named.conf <<END
options {
	directory "$work";
	listen-on port 5301 { 127.0.0.1; };
	listen-on-v6 { none; };
	forward only;
	forwarders { 127.0.0.1 port 5399; };
	dnssec-validation no;
	pid-file none;
	session-keyfile none;
	allow-query { any; };
};
controls {};
END
unshare --net bash -c '
	ip link set lo up
	sysctl -qw net.ipv4.ip_local_port_range="40000 40999" net.ipv4.ip_local_reserved_ports=20000-30000
	exec python3 -
' <<'PYTHON'
import socket
import subprocess
import sys
import threading

QUERIES = 1000
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 5399))
seen = {}


def serve():
    """Answers each query with nothing, and notes from which port it came."""
    while True:
        query, client = server.recvfrom(1500)
        end = query.index(b"\0", 12) + 5
        name = query[12:end].lower()
        seen.setdefault(name, client[1])
        server.sendto(query[:2] + b"\x85\x80\0\1\0\0\0\0\0\0" + query[12:end], client)


threading.Thread(target=serve, daemon=True).start()


def question(i, name):
    label = f"{name}{i}".encode()
    return i.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + bytes([len(label)]) + label + b"\7example\0\0\1\0\1"


def ask(client, query, tries):
    for _ in range(tries):
        client.sendto(query, ("127.0.0.1", 5301))
        try:
            if client.recv(1500)[:2] == query[:2]:
                return True
        except OSError:
            pass
    return False


def ports(name, *command):
    """The source ports of the queries that the resolver sent on, one for each question."""
    seen.clear()
    resolver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind(("127.0.0.1", 50000))
        client.settimeout(0.5)
        ask(client, question(65535, "first"), 120)
        for i in range(QUERIES):
            ask(client, question(i, name), 20)
    finally:
        resolver.kill()
        resolver.wait()
    return [port for key, port in seen.items() if key[1:].startswith(name.encode())]


def row(name, *command):
    found = ports(name, *command)
    outside = sum(not 40000 <= port <= 40999 for port in found)
    reserved = sum(20000 <= port <= 30000 for port in found)
    print(f"{name}: {len(found)} queries, {outside} from ports outside the range of 40000 to 40999, {reserved} from reserved ones")
    return len(found), outside, reserved


unbound = row("unbound", "unbound", "-d", "-c", "unbound.conf")
dnsmasq = row("dnsmasq", "dnsmasq", "-k", "-C", "/dev/null", "-p", "5301", "-R", "-S", "127.0.0.1#5399", "--bind-interfaces", "-i", "lo",
              "--cache-size=0", "-u", "root", "--pid-file")
named = row("named", "named", "-f", "-c", "named.conf")
if dnsmasq != (QUERIES, 0, 0) or named != (QUERIES, 0, 0) or unbound[0] != QUERIES or unbound[1] < 900 or unbound[2] < 80:
    sys.exit("the behaviour has changed")
PYTHON
