#!/bin/sh
# Runs before the files go. deb: remove or upgrade; rpm: how many versions will be left.
set -e
case $1 in
	remove | 0) ;;
	*) exit 0 ;;
esac
if command -v systemctl >/dev/null; then
	if [ -d /run/systemd/system ]; then
		systemctl stop snatwatch.service
	fi
	systemctl --quiet disable snatwatch.service
fi
