#!/usr/bin/env bash
# Podman 4.3.1 (Debian 12's, from its packages).
#
# oci-hooks(5) of Podman has hooks of the vendor below /usr/share/containers/oci/hooks.d and those of
# the administrator below /etc/containers/oci/hooks.d. With the settings as they come only the first
# is read: the same file below /etc runs nothing, and nothing is said. What seals or checks containers
# by such a hook is silently left out.
#
# Needs root and apt-get. Everything is in a temporary folder and a mount namespace of its own; the
# containers have no network.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
clean() {
    rm -rf "$dir"
}
trap clean EXIT
cd "$dir"
chmod 755 .
apt-get download -q podman=4.3.1+ds1-8+deb12u1+b3 conmon=2.1.6+ds1-1 runc=1.1.5+ds1-1+deb12u1 \
    busybox-static=1:1.35.0-4+deb12u1+b1 golang-github-containers-common=0.50.1+ds1-4 \
    libgpgme11 libassuan0 libsubid4 >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done
mkdir -p image/bin
cp root/bin/busybox image/bin/
tar -C image -c . >image.tar
cat >hook <<'EOF'
#!/bin/sh
exec /bin/touch "$1"
EOF
chmod 755 hook

cat >try <<'EOF'
set -eu
dir=$1
cd "$dir"
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu"
mount -t tmpfs tmpfs /etc/containers
mount -t tmpfs tmpfs /usr/share/containers
cp -r root/etc/containers/. /etc/containers/ 2>/dev/null || :
cp -r root/usr/share/containers/. /usr/share/containers/
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >/etc/containers/policy.json
podman() {
    root/usr/bin/podman --root "$dir/storage" --runroot "$dir/run" --tmpdir "$dir/tmp" \
        --storage-driver vfs --cgroup-manager cgroupfs --events-backend none \
        --conmon "$dir/root/usr/bin/conmon" --runtime "$dir/root/usr/sbin/runc" "$@"
}
podman --version
podman import -q image.tar finding >/dev/null
for place in /etc /usr/share; do
    hooks=$place/containers/oci/hooks.d
    mkdir -p "$hooks"
    printf '{"version":"1.0.0","hook":{"path":"%s","args":["hook","%s"]},"when":{"always":true},"stages":["createRuntime"]}\n' \
        "$dir/hook" "$dir/ran" >"$hooks/finding.json"
    rm -f ran
    podman run --rm --network none --cgroups no-conmon --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --log-driver none finding /bin/busybox true
    [ -e ran ] && echo "$hooks: its hook ran" || echo "$hooks: its hook did not run"
    [ -e ran ] && echo "$place" >>read
    rm "$hooks/finding.json"
done
EOF
unshare --mount sh try "$dir"
[ "$(cat read 2>/dev/null)" = /usr/share ]
