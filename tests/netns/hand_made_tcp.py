"""A TCP client whose segments are made by hand, at the other end of a TUN device (IPv4 only).

A kernel repeats what was lost in other pieces than it was sent in; here a test says which.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
from typing import Self

_TUNSETIFF = 0x400454CA
_IFF_TUN_WITHOUT_HEADER = 0x1001
_FIN, _SYN, _ACK, _PUSH_ACK = 0x01, 0x02, 0x10, 0x18
_PORT = 4321
_FIRST = 1000
_WINDOW = 65535
_PATIENCE_MILLISECONDS = 20_000

NODE = "10.9.0.1"
CLIENT = "10.9.0.2"


class HandMadeClient:
    """A client of a server in this thread's network namespace, where the device is made."""

    def __init__(self) -> None:
        self._tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self._tun, _TUNSETIFF, struct.pack("16sH14x", b"tun0", _IFF_TUN_WITHOUT_HEADER))
        for words in (
            ["address", "add", f"{NODE}/24", "dev", "tun0"],
            ["link", "set", "tun0", "up"],
        ):
            subprocess.run(["ip", *words], check=True)
        self._server_port = 0
        self._acknowledged = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._tun)

    def connect(self, port: int) -> None:
        """Shake hands with a server that listens at NODE."""
        self._server_port = port
        self._write(_FIRST, 0, _SYN, b"")
        sequence = self._synchronized()
        self._acknowledged = (sequence + 1) % (1 << 32)
        self._write(_FIRST + 1, self._acknowledged, _ACK, b"")

    def send(self, start: int, data: bytes, *, end: bool = False) -> None:
        """Send a segment whose first byte is so far from the begin of the stream, or its end."""
        flags = _PUSH_ACK | (_FIN if end else 0)
        self._write(_FIRST + 1 + start, self._acknowledged, flags, data)

    def _synchronized(self) -> int:
        """The sequence number of the server's SYN."""
        poll = select.poll()
        poll.register(self._tun, select.POLLIN)
        while poll.poll(_PATIENCE_MILLISECONDS):
            packet = os.read(self._tun, 65536)
            header = 4 * (packet[0] & 15)
            if packet[0] >> 4 == 4 and packet[header + 13] & _SYN:
                return int(struct.unpack_from("!I", packet, header + 4)[0])
        raise TimeoutError("the server does not answer")

    def _write(self, sequence: int, acknowledged: int, flags: int, data: bytes) -> None:
        ends = socket.inet_aton(CLIENT) + socket.inet_aton(NODE)
        ports = (_PORT, self._server_port)
        tcp = struct.pack(
            "!HHIIBBHHH", *ports, sequence, acknowledged, 5 << 4, flags, _WINDOW, 0, 0
        )
        pseudo = ends + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp) + len(data))
        tcp = tcp[:16] + struct.pack("!H", _checksum(pseudo + tcp + data)) + tcp[18:]
        length = 20 + len(tcp) + len(data)
        ip = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, socket.IPPROTO_TCP, 0) + ends
        ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
        os.write(self._tun, ip + tcp + data)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
