#!/usr/bin/env bash
# Docker 20.10.24 (Debian 12).
#
# `HostsPath` of a container that is described is the engine's own file, which it mounts at
# /etc/hosts. Where the user mounts a file of his own there (-v FILE:/etc/hosts), `HostsPath` is
# that file: on this host, with any other use it may have. Whoever writes a container's names into
# what the engine names, and only checks that the container has it at /etc/hosts, writes into it.
#
# Needs root, apt-get, unshare, a static busybox. Everything is in a temporary folder and a network
# namespace of its own; no traffic.
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

mkdir -p image/bin
cp /bin/busybox image/bin/
tar -C image -c . | docker import - finding >/dev/null
echo "127.0.0.1 localhost" >mine

shown() {
    id=$(docker run -d --network none "$@" finding /bin/busybox sleep 60)
    docker inspect -f '{{.HostsPath}}' "$id" | sed "s|$dir|DIR|; s|$id|ID|g"
    docker rm -f "$id" >/dev/null
}
own=$(shown)
mounted=$(shown -v "$dir/mine:/etc/hosts")
echo "its own: $own; with -v FILE:/etc/hosts: $mounted"
[ "$own" = DIR/data/containers/ID/hosts ] && [ "$mounted" = DIR/mine ]
