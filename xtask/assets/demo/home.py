"""The vendor's home server: answers DNS, takes calls, writes one line per thing that arrives.

usage: home.py IPV4 IPV6
"""

import ipaddress
import signal
import socket
import struct
import sys
import threading

IPV4, IPV6 = sys.argv[1:]
LOCK = threading.Lock()


def say(line):
    with LOCK:
        print(line, flush=True)


def text(payload):
    return ascii(payload[:60].decode("ascii", "replace"))


def dns(server):
    while True:
        query, client = server.recvfrom(512)
        try:
            server.sendto(answer(query), client)
        except (IndexError, struct.error):
            say(f"dns malformed query from {client[0]}")


def answer(query):
    """Resolves every name to this server (RFC 1035)."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    kind = struct.unpack_from("!H", query, at + 1)[0]
    names = {1: ("A", IPV4), 28: ("AAAA", IPV6)}
    say(f"dns {names.get(kind, (f'TYPE{kind}',))[0]} {'.'.join(labels)}")
    records = b""
    if kind in names:
        data = ipaddress.ip_address(names[kind][1]).packed
        # A pointer to the question's name, IN, 60 seconds.
        records = struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(data)) + data
    header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(bool(records)), 0, 0)
    return header + query[12 : at + 5] + records


def udp(server):
    while True:
        payload, client = server.recvfrom(2048)
        say(f"udp {server.getsockname()[1]} from {client[0]}: {text(payload)}")


def tcp(server):
    while True:
        connection, client = server.accept()
        threading.Thread(target=take, args=(connection, client[0]), daemon=True).start()


def take(connection, client):
    with connection:
        connection.settimeout(5)
        try:
            payload = connection.recv(2048)
        except OSError:
            payload = b""
    kind = "tcp6" if ":" in client else "tcp4"
    say(f"{kind} 443 from {client}: {text(payload)}")


def bound(family, kind, address, port):
    server = socket.socket(family, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    if kind == socket.SOCK_STREAM:
        server.listen(64)
    return server


# Ctrl-C is for the demo, which then ends this server.
signal.signal(signal.SIGINT, signal.SIG_IGN)
V4, V6 = socket.AF_INET, socket.AF_INET6
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
JOBS = [
    (dns, bound(V4, UDP, IPV4, 53)),
    (udp, bound(V4, UDP, IPV4, 8125)),
    (tcp, bound(V4, TCP, IPV4, 443)),
    (tcp, bound(V6, TCP, IPV6, 443)),
]
for job, server in JOBS:
    threading.Thread(target=job, args=(server,)).start()
say("ready")
