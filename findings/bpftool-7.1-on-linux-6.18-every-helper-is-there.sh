#!/usr/bin/env bash
# bpftool 7.1.0 (Debian 12) on Linux 6.18.
#
# `bpftool feature probe` loads a small program for each pair of program type and helper, and takes
# what the verifier says for the answer. Newer kernels refuse a helper in other words ("program of
# this type cannot use helper"), which this bpftool does not know: it lists every helper for each
# type that it can load at all. Of programs on cgroups that judge the making of sockets it says that
# they may write into packets; the kernel refuses that.
#
# Needs root and apt-get. Everything is in a temporary folder.
set -euo pipefail

dir=$(mktemp -d /var/tmp/finding-XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
chmod 755 .
apt-get download -q bpftool=7.1.0+6.1.176-1 python3.11-minimal=3.11.2-6+deb12u9 \
    libpython3.11-minimal=3.11.2-6+deb12u9 libpython3.11-stdlib=3.11.2-6+deb12u9 libffi8=3.4.4-1 >/dev/null 2>&1
for deb in *.deb; do dpkg-deb -x "$deb" root; done
bpftool=$dir/root/usr/sbin/bpftool
echo "$("$bpftool" version | head -n 1 | sed "s|.*/||") on Linux $(uname -r)"

helpers() {
    "$bpftool" feature probe kernel 2>/dev/null |
        sed -n "/helpers supported for program type $1:/,/^eBPF/p" | grep '^\s*- ' | sort
}
helpers cgroup_sock >of_sockets
helpers sched_cls >of_packets
echo "helpers by bpftool: $(wc -l <of_sockets) for cgroup_sock, $(wc -l <of_packets) for sched_cls"

cat >load.py <<'PYTHON'
import ctypes, errno, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
CGROUP_SOCK, SCHED_CLS, SKB_STORE_BYTES = 9, 3, 9


def refused(kind):
    # A call of the helper with a packet, offset 0, one byte of the stack, no flags.
    program = b"".join(
        struct.pack("<BBhi", *one)
        for one in (
            (0xB7, 0x00, 0, 0),   # r0 = 0
            (0x7B, 0x0A, -8, 0),  # *(u64 *)(r10 - 8) = r0
            (0xB7, 0x02, 0, 0),   # r2 = 0
            (0xBF, 0xA3, 0, 0),   # r3 = r10
            (0x07, 0x03, 0, -8),  # r3 += -8
            (0xB7, 0x04, 0, 1),   # r4 = 1
            (0xB7, 0x05, 0, 0),   # r5 = 0
            (0x85, 0x00, 0, SKB_STORE_BYTES),
            (0xB7, 0x00, 0, 1),   # r0 = 1
            (0x95, 0x00, 0, 0),   # exit
        )
    )
    code = ctypes.create_string_buffer(program)
    log = ctypes.create_string_buffer(65536)
    licence = ctypes.create_string_buffer(b"GPL")
    attr = struct.pack(
        "<IIQQIIQ",
        kind, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence),
        1, len(log), ctypes.addressof(log),
    ).ljust(128, b"\0")
    attr = ctypes.create_string_buffer(attr, 128)
    fd = libc.syscall(321, 5, attr, 128)  # bpf(BPF_PROG_LOAD)
    if fd >= 0:
        return None
    last = log.value.decode(errors="replace").strip().splitlines()
    return errno.errorcode[ctypes.get_errno()] + ": " + (last[-2] if len(last) > 1 else "")


packets, sockets = refused(SCHED_CLS), refused(CGROUP_SOCK)
print("the kernel, of bpf_skb_store_bytes: sched_cls", packets or "loads", "| cgroup_sock", sockets or "loads")
sys.exit(0 if packets is None and sockets and "cannot use helper" in sockets else 1)
PYTHON
export LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu PYTHONHOME=$dir/root/usr
root/usr/bin/python3.11 load.py
grep -q 'bpf_skb_store_bytes$' of_sockets
cmp -s of_sockets of_packets
echo "as found: what bpftool says of both types is the same list"
