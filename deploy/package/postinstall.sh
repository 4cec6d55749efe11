#!/bin/sh
# Runs after the files are there. deb: configure, and the version before; rpm: how many versions are installed.
set -e

if ! id snatwatch >/dev/null 2>&1; then
	if command -v useradd >/dev/null; then
		useradd --system --user-group --home-dir /var/lib/snatwatch --no-create-home --shell /usr/sbin/nologin snatwatch
	else
		addgroup -S snatwatch
		adduser -S -D -H -h /var/lib/snatwatch -s /sbin/nologin -G snatwatch snatwatch
	fi
fi

first=
case $1 in
	configure) [ -n "$2" ] || first=yes ;;
	1) first=yes ;;
esac
if [ -e /etc/snatwatch/.was-enabled ]; then # removed since, and its config kept
	rm /etc/snatwatch/.was-enabled
	first=yes
fi

if command -v systemctl >/dev/null; then
	[ -z "$first" ] || systemctl --quiet enable snatwatch.service
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload
		# Started when it is installed, and again when it ran before; a unit that was stopped stays so.
		if [ -n "$first" ]; then
			systemctl start snatwatch.service || echo 'snatwatch does not start: journalctl -u snatwatch' >&2
		else
			systemctl try-restart snatwatch.service || echo 'snatwatch does not start again: journalctl -u snatwatch' >&2
		fi
	fi
fi
