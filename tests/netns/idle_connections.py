"""Open connections and hold them: ``python idle_connections.py ADDRESS PORT NUMBER``.

In a process of its own, for their descriptors. Says ``ready`` when all are open, and ends when
its standard input does.
"""

from __future__ import annotations

import socket
import sys


def main(address: str, port: int, number: int) -> None:
    held = [socket.create_connection((address, port), 30) for _ in range(number)]
    print("ready", flush=True)
    sys.stdin.read()
    for connection in held:
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
