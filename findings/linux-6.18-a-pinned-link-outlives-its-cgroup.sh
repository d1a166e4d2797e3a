#!/usr/bin/env bash
# Linux 6.18 with Python 3.11 (Debian 12's, from its packages).
#
# "Pinned" reads as "in force until it is unpinned". A link of a program to a cgroup is detached when
# the cgroup is removed, and its pin stays: the file is there, opens as before and names the program
# still. Only its cgroup id reads 0, and giving it another program fails with ENOLINK. A cgroup that
# is made at the same path, as an engine does at each restart, has no program.
#
# Needs root, apt-get and cgroup v2. Everything is in a temporary folder and one cgroup; the
# connection is over loopback.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
group=$mount/finding-$$
trap 'umount "$dir/pins" 2>/dev/null || true; rmdir "$group" 2>/dev/null || true; rm -rf "$dir"' EXIT
mkdir "$group" "$dir/pins"
mount -t bpf finding "$dir/pins"
cd "$dir"
chmod 755 .
apt-get download -q python3.11-minimal=3.11.2-6+deb12u9 libpython3.11-minimal=3.11.2-6+deb12u9 \
    libpython3.11-stdlib=3.11.2-6+deb12u9 libffi8=3.4.4-1 >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat >pin.py <<'PYTHON'
import ctypes, errno, os, socket, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
PROG_LOAD, OBJ_PIN, OBJ_GET, INFO, LINK_CREATE, LINK_UPDATE = 5, 6, 7, 15, 28, 29
SOCK_ADDR, CONNECT4 = 18, 10
group, root = sys.argv[1:]


def bpf(command, attr):
    attr = ctypes.create_string_buffer(attr.ljust(128, b"\0"), 128)
    fd = libc.syscall(321, command, attr, 128)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def refusing():
    code = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    code = ctypes.create_string_buffer(code)
    licence = ctypes.create_string_buffer(b"GPL")
    attr = struct.pack("<IIQQ", SOCK_ADDR, 2, ctypes.addressof(code), ctypes.addressof(licence))
    return bpf(PROG_LOAD, attr.ljust(68, b"\0") + struct.pack("<I", CONNECT4))


def cgroup_of(link):
    info = ctypes.create_string_buffer(64)
    bpf(INFO, struct.pack("<IIQ", link, 64, ctypes.addressof(info)))
    # struct bpf_link_info: type, id, program, padding, cgroup id
    return struct.unpack_from("<Q", info, 16)[0]


def connects():
    with socket.socket() as client:
        try:
            client.connect(server.getsockname())
            return "connected"
        except PermissionError:
            return "refused"


def moved(to):
    open(to + "/cgroup.procs", "w").write(str(os.getpid()))


server = socket.create_server(("127.0.0.1", 0))
path = ctypes.create_string_buffer(b"pins/link")
program = refusing()
link = bpf(LINK_CREATE, struct.pack("<IIII", program, os.open(group, os.O_RDONLY), CONNECT4, 0))
bpf(OBJ_PIN, struct.pack("<QI", ctypes.addressof(path), link))
os.close(link)
moved(group)
before = connects()
moved(root)
os.rmdir(group)
os.mkdir(group)
moved(group)
after = connects()
moved(root)
link = bpf(OBJ_GET, struct.pack("<Q", ctypes.addressof(path)))
# The kernel takes the old cgroup apart a moment later.
until = time.monotonic() + 10
while cgroup_of(link) and time.monotonic() < until:
    time.sleep(0.05)
try:
    bpf(LINK_UPDATE, struct.pack("<III", link, refusing(), 0))
    update = "accepted"
except OSError as error:
    update = errno.errorcode[error.errno]
print(f"in the cgroup: {before}; in the one that was made anew at its path: {after}")
print(f"the pin is there, of cgroup {cgroup_of(link)}; another program for it: {update}")
sys.exit((before, after, cgroup_of(link), update) != ("refused", "connected", 0, "ENOLINK"))
PYTHON
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu PYTHONHOME=$dir/root/usr
root/usr/bin/python3.11 pin.py "$group" "$mount"
