#!/bin/busybox sh
# Process 1 of a test kernel. The first serial port has the kernel's words, the
# second the tests' alone: nothing can be printed into the middle of a result.
export PATH=/bin AIRGAP_PROBE=/bin/airgap-probe AIRGAP_BIN=/bin/airgap
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs security /sys/kernel/security
mount -t tracefs trace /sys/kernel/tracing
# No line discipline: output arrives as it was written.
stty -F /dev/ttyS1 raw
exec >/dev/ttyS1 2>&1
ip link set lo up
for word in $(cat /proc/cmdline); do
	case $word in
	airgap.lsm=*) export AIRGAP_LSM="${word#airgap.lsm=}" ;;
	airgap.frames=*) export AIRGAP_FRAMES="${word#airgap.frames=}" ;;
	esac
done
# As on every host of containers; new network namespaces take it over.
echo 1 >/proc/sys/net/ipv4/ip_forward
for module in /modules/*.ko; do
	insmod "$module" || echo "guest: cannot load $module"
done
if [ "$(ls /sys/class/net)" = lo ]; then
	echo "guest: begin $(uname -r)"
	code=0
	for tests in /tests/*; do
		# Uncaptured, so that what a test said is there even if the next one never ends.
		"$tests" --test-threads=1 --nocapture || code=$?
	done
	echo "guest: exit $code"
else
	echo "guest: there is a network device: $(ls /sys/class/net)"
fi
exec poweroff -f
