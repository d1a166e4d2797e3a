#!/bin/sh
# The end-to-end tests, once Docker is up in a machine of its own.
export AIRGAP_BIN=/opt/airgap AIRGAP_PROBE=/opt/airgap-probe
export AIRGAP_TEST_RESTARTS=3 AIRGAP_TEST_PATIENCE=10
# Of the kernel's command line, by way of the unit: without them the tests would be less strict.
: "${AIRGAP_HOOKS:?}" "${AIRGAP_FRAMES:?}"
# For `hooks`.
modprobe nbd
echo "guest: begin $(uname -r)"
code=0
while read -r program names; do
	# With the seconds since the start.
	echo "program: $program|$(cut -d ' ' -f 1 /proc/uptime)"
	# Words, each a part of a test's name.
	# shellcheck disable=SC2086
	"/opt/tests/$program" --test-threads=1 --nocapture $names </dev/null || code=$?
done </opt/tests/list
echo "guest: exit $code"
exec systemctl poweroff --force --force
