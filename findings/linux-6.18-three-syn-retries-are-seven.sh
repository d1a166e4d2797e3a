#!/usr/bin/env bash
# Linux 6.18 with Python 3.11 (Debian 12's, from its packages).
#
# TCP_SYNCNT is "the number of SYN retransmits that TCP should send before aborting the attempt to
# connect" (tcp(7)). Since Linux 6.5 the first four (net.ipv4.tcp_syn_linear_timeouts) are a second
# apart, and are no part of that number: asked for three, TCP sends seven after the first, and a
# connect that nobody answers takes 19 s. With that setting at 0 it sends three, in 15 s, as before.
#
# Needs root, apt-get, unshare, ip, sysctl. Everything is in a temporary folder and a network
# namespace of its own, where a device swallows what is sent.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get download -q python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
    libpython3.11-stdlib=3.11.2-6+deb12u9 >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat >connect.py <<'PYTHON'
import socket, sys, time

seen = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
seen.bind(("far", 3))
seen.settimeout(0)
client = socket.socket()
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 3)
begun = time.monotonic()
try:
    client.connect(("198.51.100.2", 80))
except TimeoutError:
    pass
took = round(time.monotonic() - begun)
syns = 0
while True:
    try:
        packet = seen.recv(2048)
    except BlockingIOError:
        break
    # IPv4 and TCP, with the flag SYN alone.
    if packet[0] >> 4 == 4 and packet[9] == 6 and packet[33] == 2:
        syns += 1
print(syns, took)
PYTHON
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu PYTHONHOME=$dir/root/usr
attempt() {
    unshare --net sh -c "ip link add near type veth peer name far && ip link set far up &&
        ip addr add 198.51.100.1/24 dev near && ip link set near up &&
        ip neigh add 198.51.100.2 lladdr 02:00:00:00:00:02 dev near && sysctl -qw net.ipv4.tcp_syn_linear_timeouts=$1 &&
        exec root/usr/bin/python3.11 connect.py"
}
read -r default _ < <(unshare --net sysctl -n net.ipv4.tcp_syn_linear_timeouts)
attempt "$default" >usual &
attempt 0 >before &
wait
read -r syns seconds <usual
read -r syns_before seconds_before <before
echo "Linux $(uname -r), three retries asked for: $((syns - 1)) retries in $seconds s; without linear ones $((syns_before - 1)) in $seconds_before s"
[ "$default $syns $syns_before" = "4 8 4" ]
