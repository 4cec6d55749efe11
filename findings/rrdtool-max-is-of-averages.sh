#!/usr/bin/env bash
# The MAX archive of an RRD holds a tenth of the peak that was fed to it, and LAST is not the last value.
#
# Guess: an archive with the function MAX keeps the highest value of each hour, which is why one makes it beside AVERAGE; LAST
# keeps the last value that was stored.
# Seen: MAX and LAST choose among steps, and a step of five minutes holds the average of what was fed within it. A peak of 64,000
# ports that lasted 30 s is 6,400 in the hour's MAX, with a sample every ten seconds. A value that comes some seconds
# after the step's end is spread over two steps, so that a count of 4,000 is kept as 3,930. A graph of Munin, Cacti or collectd
# with a limit line shows a tenth of the way to a limit that was reached. What keeps peaks is a step as short as they are.
# Seen with rrdtool 1.7.2 of Debian 12.
#
# Debian, as root to install. Fails if the behaviour changes.
set -euo pipefail

if ! command -v rrdtool >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rrdtool >/dev/null
fi
rrdtool --version | sed -n '1s/ *Copyright.*//p'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
begin=1200000000

# Every ten seconds for an hour: 100 ports, and 64,000 from 1000 s to 1020 s.
rrdtool create peak.rrd --start $begin --step 300 DS:ports:GAUGE:600:0:U RRA:MAX:0.5:12:10
for second in $(seq 10 10 3600); do
	value=100
	if [ "$second" -ge 1000 ] && [ "$second" -le 1020 ]; then value=64000; fi
	echo "update peak.rrd $((begin + second)):$value"
done | rrdtool - >/dev/null
peak=$(rrdtool fetch peak.rrd MAX --start $begin --end $((begin + 3600)) | awk '$1 == "1200002400:" { printf "%.0f", $2 }')

# Once in a step, seven seconds after its end.
rrdtool create late.rrd --start $begin --step 300 DS:ports:GAUGE:600:0:U RRA:LAST:0.5:1:10
for i in 1 2 3; do rrdtool update late.rrd $((begin + 300 * i + 7)):$((1000 * i * i)); done
late=$(rrdtool fetch late.rrd LAST --start $begin --end $((begin + 900)) | awk '$1 == "1200000600:" { printf "%.0f", $2 }')
echo "fed: 64000 for 30 s of an hour, 100 otherwise; MAX of the hour: $peak"
echo "fed: 1000, 4000 and 9000, one for each step; LAST of the second step: $late"
[ "$peak" = 6490 ] && [ "$late" = 3930 ] || {
	echo 'the behaviour has changed'
	exit 1
}
