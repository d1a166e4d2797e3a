#!/bin/busybox sh
# Process 1 until the disk is there: its modules, its three file systems (the Debian, the kernel's
# modules, what this run brings along), then the Debian's own init.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
stty -F /dev/ttyS1 raw
exec 2>/dev/ttyS1
for module in /modules/*; do
	insmod "$module" || echo "guest: cannot load $module" >&2
done
if ! mount -t ext4 /dev/vda /disk ||
	! mount -t ext4 -o ro /dev/vdb /disk/usr/lib/modules ||
	! mount -t ext4 -o ro /dev/vdc /disk/opt ||
	! cp -af /disk/opt/units/. /disk/etc/systemd/system/; then
	echo "guest: there is no disk to start from" >&2
	poweroff -f
fi
if [ "$(ls /sys/class/net)" != lo ]; then
	echo "guest: there is a network device: $(ls /sys/class/net)" >&2
	poweroff -f
fi
umount /proc /sys
exec switch_root /disk /sbin/init
