#!/usr/bin/env bash
# Docker 20.10.24 (Debian 12).
#
# A container's own name has a line of /etc/hosts for each network that it is in. Once it is
# disconnected from one of them, the lines of all are gone: what looks its own name up by that
# file, as many servers do at their start, finds nothing, although the container is in its first
# network as before. The engine's file has them again after a restart of the container.
#
# Needs root, apt-get, unshare, ip, a static busybox. Everything is in a temporary folder and a
# network namespace of its own; no traffic.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
engine=
finish() {
    if [ -n "$engine" ]; then
        kill "$engine" 2>/dev/null || true
        wait "$engine" 2>/dev/null || true
    fi
    grep -o " $dir[^ ]*" /proc/self/mounts | sort -r | xargs -r umount -l 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT

cd "$dir"
chmod 755 .
apt-get download -q docker.io=20.10.24+dfsg1-1+deb12u1+b6 containerd=1.6.20~ds1-1+deb12u3 \
    runc=1.1.5+ds1-1+deb12u1 >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done
export PATH="$dir/root/usr/bin:$dir/root/usr/sbin:$PATH"

unshare --net dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \
    --host "unix://$dir/sock" --bridge none --iptables=false --ip6tables=false >log 2>&1 &
engine=$!
export DOCKER_HOST="unix://$dir/sock"
for _ in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
echo "engine $(docker version --format '{{.Server.Version}}')"

ip link set lo up 2>/dev/null || true
mkdir -p image/bin
cp /bin/busybox image/bin/
tar -C image -c . | docker import - finding >/dev/null
docker network create one >/dev/null
docker network create two >/dev/null
id=$(docker run -d --network one --hostname me finding /bin/busybox sleep 600)
lines() { docker exec "$id" /bin/busybox grep -c 'me$' /etc/hosts || true; }
first=$(lines)
docker network connect two "$id"
both=$(lines)
docker network disconnect two "$id"
after=$(lines)
docker restart -t 0 "$id" >/dev/null
again=$(lines)
docker rm -f "$id" >/dev/null
echo "lines of its own name: in one network $first, in two $both, in the first again $after, restarted $again"
[ "$first $both $after $again" = "1 2 0 1" ]
