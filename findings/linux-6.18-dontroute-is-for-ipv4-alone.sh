#!/usr/bin/env bash
# Linux 6.18 with Python 3.11 (Debian 12's, from its packages).
#
# socket(7): SO_DONTROUTE has a socket "send only to directly connected hosts", not by a gateway. Over
# IPv4 a datagram to an address behind a gateway is refused then, or asked for on the link. Over IPv6
# the option can be set and read back, and nothing changes: the datagram goes to the gateway. A
# diagnosis that takes the option for a test of the link alone is wrong for IPv6.
#
# Needs root and apt-get. Everything is in a temporary folder and in network namespaces of its own.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get download -q python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
    libpython3.11-stdlib=3.11.2-6+deb12u9 iproute2=6.1.0-3 libbpf1=1:1.1.2-0+deb12u1 \
    >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu
export PYTHONHOME=$dir/root/usr

cat >try.py <<'PYTHON'
import os, socket, subprocess, sys, time

IP = sys.argv[1]
def ip(*words):
    subprocess.run([IP, *words], check=True)

# A second namespace is the gateway; what is behind it is an address of its lo.
ready, inside = os.pipe()
over, outside = os.pipe()
child = os.fork()
if child == 0:
    os.close(outside)
    libc = __import__("ctypes").CDLL(None)
    libc.unshare(0x40000000)
    os.write(inside, b"x")
    os.read(over, 1)
    os._exit(0)
os.close(over)
os.read(ready, 1)
ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(child))
far = lambda *words: subprocess.run(["nsenter", "-t", str(child), "-n", IP, *words], check=True)
for run, name, four, six in ((ip, "near", "198.51.100.1/30", "2001:db8::1/64"), (far, "far", "198.51.100.2/30", "2001:db8::2/64")):
    run("addr", "add", four, "dev", name)
    run("addr", "add", six, "dev", name, "nodad")
    run("link", "set", name, "up")
far("link", "set", "lo", "up")
far("addr", "add", "198.51.100.129/32", "dev", "lo")
far("addr", "add", "2001:db8:1::1/128", "dev", "lo", "nodad")
ip("route", "add", "default", "via", "198.51.100.2")
ip("-6", "route", "add", "default", "via", "2001:db8::2")

def counted():
    out = subprocess.run(["nsenter", "-t", str(child), "-n", "cat", "/proc/net/snmp", "/proc/net/snmp6"], capture_output=True, text=True, check=True).stdout.splitlines()
    four = [line.split()[2] for line in out if line.startswith("Udp: ") and line.split()[1].isdigit()]
    six = [line.split()[1] for line in out if line.startswith("Udp6NoPorts")]
    return int(four[0]), int(six[0])

def arrives(family, to, option):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, option)
    assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE)) == bool(option)
    before = counted()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            sock.sendto(b"x", (to, 9))
        except OSError:
            pass
        if counted() != before:
            return True
        time.sleep(0.1)
    return False

seen = {}
for name, family, to in (("IPv4", socket.AF_INET, "198.51.100.129"), ("IPv6", socket.AF_INET6, "2001:db8:1::1")):
    for option in (0, 1):
        seen[name, option] = arrives(family, to, option)
        print(f"{name}, SO_DONTROUTE {option}: what is behind the gateway is {'' if seen[name, option] else 'not '}reached")
os.close(outside)
os.waitpid(child, 0)
expected = {("IPv4", 0): True, ("IPv4", 1): False, ("IPv6", 0): True, ("IPv6", 1): True}
sys.exit(0 if seen == expected else 1)
PYTHON
unshare --net root/usr/bin/python3.11 try.py "$dir/root/bin/ip"
echo "as found: over IPv6 the option changes nothing"
