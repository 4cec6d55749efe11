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
	# dpkg tells an installation after a removal like an upgrade: the mark says that the unit was enabled.
	if [ "$1" = remove ] && systemctl --quiet is-enabled snatwatch.service; then
		mkdir -p /etc/snatwatch # root's alone
		: >/etc/snatwatch/.was-enabled
	fi
	systemctl --quiet disable snatwatch.service
fi
