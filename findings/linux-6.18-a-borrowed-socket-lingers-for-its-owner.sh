#!/usr/bin/env bash
# Linux 6.18 with Python 3.11 (Debian 12's, from its packages).
#
# A process that exits never waits for SO_LINGER: the kernel leaves unsent data to itself. Whoever
# has borrowed such a socket with pidfd_getfd(2), to look at it, and closes it after the owner's
# exit is the last one to close it, and is no process that exits: its close(2) waits for as long as
# the owner asked for. A look at somebody's sockets so takes as long as that somebody likes.
#
# Needs root, apt-get, unshare. Everything is in a temporary folder and a network namespace of its
# own, over loopback.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get download -q python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
    libpython3.11-stdlib=3.11.2-6+deb12u9 >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat >look.py <<'PYTHON'
import ctypes, os, socket, struct, subprocess, sys, time

LINGER = 3
PIDFD_GETFD = 438
libc = ctypes.CDLL(None, use_errno=True)


def owner():
    """Has unsent data that nobody reads, and asks for some seconds."""
    listener = socket.create_server(("127.0.0.1", 7000))
    sender = socket.create_connection(("127.0.0.1", 7000))
    reader, _ = listener.accept()
    # Nobody reads it, and the last descriptor of it stays open in the parent's hands.
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
    sender.setblocking(False)
    try:
        while True:
            sender.send(bytes(65536))
    except BlockingIOError:
        pass
    print(sender.fileno(), reader.fileno(), flush=True)
    sys.stdin.read()
    os._exit(0)


def timed():
    child = subprocess.Popen([sys.executable, __file__, "owner"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    numbers = [int(n) for n in child.stdout.readline().split()]
    pidfd = os.pidfd_open(child.pid)
    borrowed = [libc.syscall(PIDFD_GETFD, pidfd, n, 0) for n in numbers]
    assert min(borrowed) >= 0, os.strerror(ctypes.get_errno())
    start = time.monotonic()
    child.stdin.close()
    child.wait()
    exit_took = time.monotonic() - start
    start = time.monotonic()
    os.close(borrowed[0])
    took = time.monotonic() - start
    os.close(borrowed[1])
    print(f"the owner's exit took {exit_took:.1f} s, the borrower's close {took:.1f} s")
    return exit_took, took


if sys.argv[1:] == ["owner"]:
    owner()
exit_took, took = timed()
sys.exit(0 if exit_took < 1 and took > LINGER - 0.5 else 1)
PYTHON
uname -r
unshare --net sh -c 'ip link set lo up && PYTHONHOME=$PWD/root/usr exec "$PWD/root/usr/bin/python3.11" look.py'
