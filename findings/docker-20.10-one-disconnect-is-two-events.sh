#!/usr/bin/env bash
# Docker 20.10.24 (Debian 12).
#
# One `docker network connect` of a running container is one event of type network and action
# connect. One `docker network disconnect` of it is two events of action disconnect, alike in all but
# their time, although the container had one endpoint there. A container that does not run has no
# event of its connect, and one of its disconnect. So the containers of a network cannot be counted
# by its events.
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
docker network create one >/dev/null
network=$(docker network create two)
running=$(docker run -d --network one finding /bin/busybox sleep 600)
created=$(docker create --network one finding /bin/busybox sleep 600)
# How many events of this action there were of a container in the second network.
events() {
    docker events --since 0 --until "$(date +%s.%N)" --filter type=network --filter "event=$1" \
        --format '{{.Actor.ID}} {{index .Actor.Attributes "container"}}' | grep -c "^$network $2$" || true
}
for id in "$running" "$created"; do
    docker network connect two "$id"
    docker network disconnect two "$id"
done
seen="$(events connect "$running") $(events disconnect "$running")"
other="$(events connect "$created") $(events disconnect "$created")"
docker rm -f "$running" "$created" >/dev/null
echo "events of connect and disconnect: running $seen, not running $other"
[ "$seen $other" = "1 2 0 1" ]
