#!/usr/bin/env bash
# nfdump's CSV is not one table: rows of other columns follow, and an hour without flows is a sentence.
#
# Guess: what -o csv prints is one CSV with one header; of an interval without flows the header alone comes.
# Seen: nfdump -o csv of a file without flows prints its header, then the line "No matching flows" as if it were a row, then the
# word "Summary", a second header of other columns, and its values; it exits 0. With -q, which leaves out header and
# summary, that sentence is all there is. A reader of the CSV has to know these lines, or counts them as broken rows.
# Seen with nfdump 1.7.1 of Debian 12.
#
# Needs Debian with apt, as root to install. Uses UDP on loopback only. Fails if the behaviour changes.
set -euo pipefail

if ! command -v nfdump >/dev/null || ! command -v nfcapd >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends nfdump >/dev/null
fi
nfdump -V | head -1

work=$(mktemp -d)
collector=
trap '[ -z "$collector" ] || kill "$collector" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/flows"

# A collector that hears nothing leaves a valid file without flows.
nfcapd -w "$work/flows" -b 127.0.0.1 -p $((20000 + RANDOM % 10000)) -t 3600 >"$work/log" 2>&1 &
collector=$!
sleep 2
kill "$collector"
wait "$collector" || true
collector=
file=$(find "$work/flows" -name 'nfcapd.*' | head -1)

columns() { awk -F, '{ print NF }' <<<"$1"; }
out=$(nfdump -r "$file" -o csv)
status=$?
echo "exit status $status, lines:"
cut -c1-60 <<<"$out" | sed 's/^/  /'
quiet=$(nfdump -r "$file" -o csv -q)
echo "with -q: $quiet"
mapfile -t lines <<<"$out"
if [ ${#lines[@]} != 5 ] || [ "${lines[1]}" != 'No matching flows' ] || [ "${lines[2]}" != Summary ] ||
	[ "$quiet" != 'No matching flows' ] || [ "$(columns "${lines[0]}")" = "$(columns "${lines[3]}")" ]; then
	echo 'the behaviour has changed'
	exit 1
fi
