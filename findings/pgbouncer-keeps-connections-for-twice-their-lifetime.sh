#!/usr/bin/env bash
# PgBouncer keeps connections for up to twice server_lifetime, though nobody uses them.
#
# Guess: a server connection that is not in use is closed when it is older than server_lifetime, which is an hour unless set; so an
# hour after a busy moment its source ports are free.
# Seen: after that time one connection is closed for each server_lifetime / pool size. Of twenty that opened together the first goes
# at the lifetime and the last at twice the lifetime. As long as they are asked for in turn, server_idle_timeout does not end them
# earlier. Whoever sets server_lifetime below the idle limit of a NAT has half of the connections outlive that limit.
# Seen with pgbouncer 1.18.0 and postgresql 15 of Debian 12. Source: life_over in src/objects.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

postgres=/usr/lib/postgresql/15/bin
missing=()
for pair in ip:iproute2 pgbouncer:pgbouncer $postgres/postgres:postgresql-15 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
pgbouncer --version | head -1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
chown postgres .
cat >pgbouncer.ini <<'END'
[databases]
postgres = host=127.0.0.1 port=5432 dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
unix_socket_dir =
auth_type = trust
auth_file = users
pool_mode = transaction
default_pool_size = 20
server_lifetime = 30
END
echo '"postgres" ""' >users
su postgres -c "$postgres/initdb -D data -A trust" >/dev/null
unshare --net bash -c 'ip link set lo up && exec python3 - "$1"' - $postgres <<'PYTHON'
import atexit
import subprocess
import sys
import time

programs = sys.argv[1]


def start(command):
    process = subprocess.Popen(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(lambda: (process.terminate(), process.wait()))


def sockets(*filters):
    return len(subprocess.run(["ss", "-Htn", *filters], capture_output=True, text=True, check=True).stdout.splitlines())


def held():
    return sockets("state", "established", "dst", "127.0.0.1:5432")


start([programs + "/postgres", "-D", "data", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"])
start(["pgbouncer", "-q", "pgbouncer.ini"])
client = [programs + "/psql", "-h", "127.0.0.1", "-p", "6432", "-U", "postgres", "-qc"]
for _ in range(300):
    if subprocess.run([*client, "select 1"], capture_output=True).returncode == 0:
        break
    time.sleep(0.2)
# Twenty clients at once, for five seconds, and then none.
clients = [subprocess.Popen([*client, "select pg_sleep(5)"], stdout=subprocess.DEVNULL) for _ in range(20)]
while held() < 20:
    time.sleep(0.1)
opened = time.monotonic()
for c in clients:
    c.wait()
count = {}
while held() and time.monotonic() < opened + 120:
    count[int(time.monotonic() - opened)] = held()
    time.sleep(0.5)
last = time.monotonic() - opened
print("server_lifetime 30 s; after twenty clients at once PgBouncer holds")
for age in 10, 25, 35, 45, 55:
    print(f"  {count.get(age, 0)} connections that are {age} s old")
print(f"the last one ended after {last:.0f} s")
if count.get(25, 0) < 19 or not 6 <= count.get(45, 0) <= 14 or not 50 < last < 75:
    sys.exit("the behaviour has changed")
PYTHON
