#!/bin/sh
# Runs after the files are gone. What the agent learned goes with the config only: at a deb's purge.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "$1" = purge ]; then
	rm -rf /var/lib/snatwatch /etc/systemd/system/snatwatch.service.d
	rm -f /etc/snatwatch/.was-enabled
	if id snatwatch >/dev/null 2>&1; then
		userdel snatwatch
	fi
fi
