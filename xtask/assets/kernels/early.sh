# What process 1 does first in every machine; sourced. The first serial port has the kernel's
# words, the second the tests' alone: nothing can be printed into the middle of a result.
# The kernel gives AIRGAP_HOOKS and AIRGAP_FRAMES of its command line to its first process.
# shellcheck shell=sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# No line discipline: output arrives as it was written.
stty -F /dev/ttyS1 raw
exec >/dev/ttyS1 2>&1
for module in /modules/*; do
	insmod "$module" || echo "guest: cannot load $module"
done
if [ "$(ls /sys/class/net)" != lo ]; then
	echo "guest: there is a network device: $(ls /sys/class/net)"
	poweroff -f
fi
