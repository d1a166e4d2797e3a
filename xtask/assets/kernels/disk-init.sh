#!/bin/busybox sh
# Process 1 until the disk is there: its three file systems (the Debian, the kernel's modules, what
# this run brings along), then the Debian's own init.
. /early.sh
if ! mount -t ext4 /dev/vda /disk ||
	! mount -t ext4 -o ro /dev/vdb /disk/usr/lib/modules ||
	! mount -t ext4 -o ro /dev/vdc /disk/opt ||
	! cp -af /disk/opt/units/. /disk/etc/systemd/system/; then
	echo "guest: there is no disk to start from"
	poweroff -f
fi
umount /proc /sys
exec switch_root /disk /sbin/init >/dev/console 2>&1
