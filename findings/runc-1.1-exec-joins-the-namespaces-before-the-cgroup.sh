#!/usr/bin/env bash
# runc 1.1.5 (Debian 12's, from its packages).
#
# `runc exec` (and so `docker exec`, and every health check) first moves the process that it starts
# into the container's namespaces, and only then its parent writes that process into the container's
# cgroup. For a moment there is a process in the container's pid namespace whose cgroup is that of
# whoever called runc: to tell by cgroup who shares a container's namespaces finds a stranger there.
#
# Needs root and apt-get. Everything is in a temporary folder; the container has no network.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
name=finding-$$
clean() {
    [ ! -x "$dir/root/usr/sbin/runc" ] || "$dir/root/usr/sbin/runc" --root "$dir/state" delete --force "$name" 2>/dev/null || :
    rm -rf "$dir"
}
trap clean EXIT
cd "$dir"
chmod 755 .
apt-get download -q runc=1.1.5+ds1-1+deb12u1 busybox-static=1:1.35.0-4+deb12u1+b1 strace=6.1-0.1 >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done
runc="$dir/root/usr/sbin/runc"
mkdir -p bundle/rootfs/bin
cp root/bin/busybox bundle/rootfs/bin/
ln -s busybox bundle/rootfs/bin/sleep
(cd bundle && "$runc" spec)
# A container that sleeps, without a terminal.
sed -i -e 's/"terminal": true/"terminal": false/' -e 's/"sh"$/"sleep", "600"/' bundle/config.json
"$runc" --root "$dir/state" run --detach --bundle bundle "$name" </dev/null >/dev/null 2>&1

"$runc" --version | head -1
root/usr/bin/strace -f -qq -s 64 -y -e trace=setns,write,clone,clone3 -o trace \
    "$runc" --root "$dir/state" exec "$name" /bin/busybox true
joined=$(grep -n 'setns(.*CLONE_NEWPID' trace | head -1 | cut -d: -f1)
counted=$(grep -n 'write(.*cgroup.procs' trace | head -1 | cut -d: -f1)
grep -E 'setns\(|cgroup.procs' trace | cut -c1-110
echo "joins the pid namespace in line ${joined:-none} of the trace, is written into a cgroup in line ${counted:-none}"
[ -n "$joined" ] && [ -n "$counted" ] && [ "$joined" -lt "$counted" ]
