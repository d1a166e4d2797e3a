#!/usr/bin/env bash
# Docker 20.10.24 (Debian 12).
#
# `docker service create --no-resolve-image` says that no registry is asked for the image's digest.
# Each task's node asks one all the same before it starts the container, although it has the image,
# and takes its own when that fails: here the registry is a port on loopback that answers 404 to
# everything, and the task runs. `docker run` of the same image asks nobody.
#
# Needs root, apt-get, unshare, nsenter, ip, python3, a static busybox. Everything is in a temporary
# folder and a network namespace of its own, with lo alone.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
engine=
registry=
finish() {
    [ -z "$engine" ] || docker swarm leave --force >/dev/null 2>&1 || true
    for pid in $registry $engine; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
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

unshare --net sh -c 'ip link set lo up; exec dockerd "$@"' sh --data-root "$dir/data" \
    --exec-root "$dir/exec" --pidfile "$dir/pid" --host "unix://$dir/sock" --bridge none \
    --iptables=false --ip6tables=false >log 2>&1 &
engine=$!
export DOCKER_HOST="unix://$dir/sock"
for _ in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
echo "engine $(docker version --format '{{.Server.Version}}')"

cat >registry.py <<'PY'
import http.server

class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("asked", "a") as log:
            log.write(self.path + "\n")
        self.send_response(404)
        self.end_headers()

    # TLS is tried first.
    def log_message(self, form, *words):
        pass

http.server.HTTPServer(("127.0.0.1", 5055), Registry).serve_forever()
PY
touch asked
nsenter --target "$engine" --net python3 registry.py &
registry=$!

mkdir -p image/bin
cp /bin/busybox image/bin/
image=127.0.0.1:5055/finding:1
tar -C image -c . | docker import - "$image" >/dev/null
docker run --rm --network none "$image" /bin/busybox true
run=$(wc -l <asked)
docker swarm init --advertise-addr 127.0.0.1 >/dev/null
docker service create --detach --no-resolve-image --network host --name finding "$image" \
    /bin/busybox sleep 600 >/dev/null
state=
for _ in $(seq 150); do
    state=$(docker service ps finding --format '{{.CurrentState}}' | head -n 1)
    case $state in Running*) break ;; esac
    sleep 0.2
done
task=$(wc -l <asked)
echo "asked by docker run: $run; by a task of Swarm: $task ($(sort asked | uniq -c | tr -s ' \n' ' ')); ${state%% *}"
[ "$run" = 0 ] && [ "$task" -gt 0 ] && [ "${state%% *}" = Running ]
