#!/usr/bin/env bash
# In a cgroup namespace the mount of cgroup2 whose root is / shows a part of the tree, and the one that shows all of it has
# the root /../...
#
# Guess: of several cgroup2 mounts in /proc/self/mountinfo the one with root / shows the whole tree, as with any bind mount, and
# paths in /proc/PID/cgroup begin at the root of the tree.
# Seen: both are written relative to the reader's own cgroup. A container's own mount has the root /, the machine's tree that is
# mounted into it has one /.. for each level above, and a process elsewhere has a path that begins with /... So what looks
# for / finds the container's own part, and what compares paths with folders of the whole tree finds nothing.
# Seen with util-linux 2.38.1 of Debian 12 on Linux 6.18.
#
# Needs root, Debian, a cgroup v2 tree. Fails if the behaviour changes.
set -euo pipefail
unshare --version
uname -r

tree=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$tree" ] || { echo 'no cgroup v2 tree'; exit 1; }
own=$tree/finding-$$/one other=$tree/finding-$$/two work=$(mktemp -d)
mkdir -p "$own" "$other"
sleep 60 &
pid=$!
echo "$pid" >"$other/cgroup.procs"
ended() {
	kill "$pid" && wait "$pid" || true
	for dir in "$own" "$other" "$tree/finding-$$"; do until rmdir "$dir"; do sleep 0.1; done; done
	rmdir "$work"
}
trap ended EXIT
seen=$(sh -c 'echo $$ >"$1/cgroup.procs"; exec unshare --cgroup --mount sh -c "
	mount -t cgroup2 none $2
	awk \"\\\$0 ~ / - cgroup2 / { print \\\$5, \\\$4 }\" /proc/self/mountinfo
	sed -n s/^0:://p /proc/$3/cgroup
	ls -d $2/finding-* 2>/dev/null | wc -l
"' sh "$own" "$work" "$pid")
outer=$(awk -v at="$tree" '$1 == at { print $2 }' <<<"$seen")
inner=$(awk -v at="$work" '$1 == at { print $2 }' <<<"$seen")
path=$(sed -n '/^\/[^ ]*$/p' <<<"$seen")
folders=$(tail -1 <<<"$seen")
echo "root of the machine's mount: $outer; of the namespace's own: $inner, with $folders of the tree's folders in it; a process elsewhere: $path"
[ "$outer" = /../.. ] && [ "$inner" = / ] && [ "$folders" = 0 ] && [ "$path" = /../two ] || { echo 'the behaviour has changed'; exit 1; }
