#!/usr/bin/env bash
# Linux 6.18 with Python 3.11 (Debian 12's, from its packages).
#
# socketpair(2) makes "an unnamed pair of connected sockets", which looks like two pipes. A pair of
# streams is that: it cannot be connected again. Each end of a pair of datagram sockets can send to
# any other socket all the same, by sendto(2), and can be connected to it: its peer is no more than
# where it sends by itself, as with any datagram socket.
#
# Needs apt-get. Everything is in a temporary folder.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get download -q python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
    libpython3.11-stdlib=3.11.2-6+deb12u9 >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat >pair.py <<'PYTHON'
import socket, sys

other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
other.bind("other")
other.settimeout(5)

end, _peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
end.sendto(b"sent", "other")
first = other.recv(16)
end.connect("other")
end.send(b"connected")
second = other.recv(16)

refused = 0
for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
    server = socket.socket(socket.AF_UNIX, kind)
    server.bind(kind.name)
    server.listen()
    end, _peer = socket.socketpair(socket.AF_UNIX, kind)
    try:
        end.connect(kind.name)
    except OSError as error:
        print(kind.name, error)
        refused += 1
print("datagrams:", first, second)
sys.exit(0 if (first, second, refused) == (b"sent", b"connected", 2) else 1)
PYTHON
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu PYTHONHOME=$dir/root/usr
root/usr/bin/python3.11 pair.py
echo "as found: a pair of datagram sockets sends to anybody, a pair of streams does not"
