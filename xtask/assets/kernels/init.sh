#!/bin/busybox sh
# Process 1 of a test kernel.
. /early.sh
export AIRGAP_PROBE=/bin/airgap-probe AIRGAP_BIN=/bin/airgap
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs security /sys/kernel/security
mount -t tracefs trace /sys/kernel/tracing
mount -t debugfs debug /sys/kernel/debug
read -r preempt </sys/kernel/debug/sched/preempt && echo "guest: preempt $preempt"
echo "guest: $(uname -v)"
ip link set lo up
# As on every host of containers; new network namespaces take it over.
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "guest: begin $(uname -r)"
code=0
for tests in /tests/*; do
	# Uncaptured, so that what a test said is there even if the next one never ends.
	"$tests" --test-threads=1 --nocapture || code=$?
done
echo "guest: exit $code"
exec poweroff -f
