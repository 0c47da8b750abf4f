"""Connections that rules have led here, as the kernel knows them.

The agent may be done with one for long before its client has taken all that was sent.
"""

from __future__ import annotations

import socket
from collections.abc import Collection

from edgemesh.kernel.sock_diag import SockDiag
from edgemesh.model.errors import OperatorError
from edgemesh.model.services import InboundAddress, NodePort, ServiceAddress, Transport

_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def is_any_diverted(
    targets: Collection[ServiceAddress | NodePort | InboundAddress], redirected_port: int
) -> bool:
    """Whether a TCP connection in this network namespace needs rules to go on.

    Blocks for a look at all TCP sockets: call it in a thread.

    Args:
        targets: what is diverted; sockets have these addresses for their own.
        redirected_port: the listener's, which they have in mode ``redirect``.

    Raises:
        OperatorError: the kernel does not tell.
    """
    places = {
        (target.address, target.port)
        for target in targets
        if not isinstance(target, NodePort) and target.transport is Transport.TCP
    }
    try:
        with SockDiag() as diag:
            return any(
                each.local in places or each.local[1] == redirected_port
                for family in _FAMILIES
                for each in diag.tcp(family)
                if each.carries
            )
    except OSError as error:
        raise OperatorError(
            f"the kernel does not tell which connections are open: {error.strerror}",
            "modprobe tcp_diag, or set netfilter.install to always",
        ) from error
