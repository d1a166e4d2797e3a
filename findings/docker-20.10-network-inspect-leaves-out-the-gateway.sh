#!/usr/bin/env bash
# Docker 20.10.24 (Debian 12).
#
# A network that is created with --subnet alone gets a gateway at once: the first address, which
# the bridge has from then on. `docker network inspect` shows the subnet and no gateway, not even
# while a container uses it; only the container's own endpoint tells. With --gateway it is shown.
# Whoever asks the network for its gateway, to judge an address before a container starts, finds
# none, and has to know how engines choose.
#
# Needs root, apt-get, unshare, ip. Everything is in a temporary folder and a network namespace of
# its own; no traffic.
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

shown() { docker network inspect -f '{{range .IPAM.Config}}{{.Gateway}}{{end}}' "$1"; }
docker network create --subnet 198.51.100.64/27 -o com.docker.network.bridge.name=fnd0 plain >/dev/null
docker network create --subnet 198.51.100.96/27 --gateway 198.51.100.97 named >/dev/null
bridge=$(nsenter -t "$engine" -n ip -4 -o addr show dev fnd0 | grep -o '198.51.100.[0-9]*/27')
echo "the bridge has $bridge; inspect shows '$(shown plain)'; with --gateway it shows '$(shown named)'"
[ "$bridge" = 198.51.100.65/27 ] && [ -z "$(shown plain)" ] && [ "$(shown named)" = 198.51.100.97 ]
