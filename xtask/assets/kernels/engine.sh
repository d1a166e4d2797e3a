#!/bin/sh
# The end-to-end tests, once Docker is up in a machine of its own.
export AIRGAP_BIN=/opt/airgap AIRGAP_PROBE=/opt/airgap-probe
export AIRGAP_TEST_RESTARTS=3 AIRGAP_TEST_PATIENCE=10
for word in $(cat /proc/cmdline); do
	case $word in
	airgap.lsm=*) export AIRGAP_LSM="${word#airgap.lsm=}" ;;
	airgap.frames=*) export AIRGAP_FRAMES="${word#airgap.frames=}" ;;
	esac
done
echo "guest: begin $(uname -r)"
code=0
while read -r program names; do
	echo "running $program, $(cut -d ' ' -f 1 /proc/uptime) s after the start"
	# Words, each a part of a test's name.
	# shellcheck disable=SC2086
	"/opt/tests/$program" --test-threads=1 --nocapture $names </dev/null || code=$?
done </opt/tests/list
echo "guest: exit $code"
exec systemctl poweroff --force --force
