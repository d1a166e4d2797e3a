#!/usr/bin/env bash
# Linux 6.18 with Python 3.11 (Debian 12's, from its packages).
#
# A program on a cgroup is loaded for one hook (expected_attach_type), and a link for another hook
# cannot be made of it: EINVAL. A link that stands can be given it all the same: BPF_LINK_UPDATE
# compares the type of the two programs alone, which connect4 and connect6 share. From then on the
# program for IPv6 is what judges connections over IPv4. Whoever replaces programs under load has to
# compare the hooks himself.
#
# Needs root, apt-get and cgroup v2. Everything is in a temporary folder and one cgroup; the
# connection is over loopback.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
group=$mount/finding-$$
trap 'rmdir "$group" 2>/dev/null || true; rm -rf "$dir"' EXIT
mkdir "$group"
cd "$dir"
chmod 755 .
apt-get download -q python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
    libpython3.11-stdlib=3.11.2-6+deb12u9 libffi8=3.4.4-1 >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat >link.py <<'PYTHON'
import ctypes, errno, os, socket, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
PROG_LOAD, LINK_CREATE, LINK_UPDATE = 5, 28, 29
SOCK_ADDR, CONNECT4, CONNECT6 = 18, 10, 11


def bpf(command, attr):
    attr = ctypes.create_string_buffer(attr.ljust(128, b"\0"), 128)
    fd = libc.syscall(321, command, attr, 128)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def program(hook, verdict):
    code = struct.pack("<BBhi", 0xB7, 0, 0, verdict) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    code = ctypes.create_string_buffer(code)
    licence = ctypes.create_string_buffer(b"GPL")
    attr = struct.pack("<IIQQ", SOCK_ADDR, 2, ctypes.addressof(code), ctypes.addressof(licence))
    return bpf(PROG_LOAD, attr.ljust(68, b"\0") + struct.pack("<I", hook))


def connects():
    with socket.socket() as client:
        try:
            client.connect(server.getsockname())
            return "connected"
        except PermissionError:
            return "refused"


server = socket.create_server(("127.0.0.1", 0))
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
allows, refuses = program(CONNECT4, 1), program(CONNECT6, 0)
cgroup = os.open(sys.argv[1], os.O_RDONLY)
try:
    bpf(LINK_CREATE, struct.pack("<IIII", refuses, cgroup, CONNECT4, 0))
    made = "accepted"
except OSError as error:
    made = errno.errorcode[error.errno]
link = bpf(LINK_CREATE, struct.pack("<IIII", allows, cgroup, CONNECT4, 0))
before = connects()
bpf(LINK_UPDATE, struct.pack("<III", link, refuses, 0))
after = connects()
os.close(link)
gone = connects()
open(sys.argv[2] + "/cgroup.procs", "w").write(str(os.getpid()))
print("a link of connect4 with a program for connect6:", made)
print(f"IPv4: {before} under its own, {after} once the link was given that one, {gone} without the link")
sys.exit((made, before, after, gone) != ("EINVAL", "connected", "refused", "connected"))
PYTHON
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu PYTHONHOME=$dir/root/usr
root/usr/bin/python3.11 link.py "$group" "$mount"
