"""The cloud's listeners."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import ExitStack

import trio

from edgemesh.model.errors import OperatorError
from edgemesh.observe.log import get_logger
from edgemesh.wire.host_port import parse_host_port

_NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}

_log = get_logger("cloudhub")


async def open_listeners(setting: str, addresses: Sequence[str]) -> list[trio.SocketListener]:
    """Listen on every address; the caller closes what is returned.

    The wildcard of IPv6 is left out on hosts that have no IPv6.

    Args:
        setting: its name, for messages.
        addresses: ``address:port`` or ``[address]:port``.

    Raises:
        OperatorError: an address is malformed, not there or taken.
    """
    opened: list[trio.SocketListener] = []
    with ExitStack() as until_all_are:
        for text in addresses:
            for listener in await _open(setting, text):
                until_all_are.callback(listener.socket.close)
                opened.append(listener)
        if not opened:
            raise OperatorError(f"{setting}: none of its addresses can be listened on")
        until_all_are.pop_all()
    return opened


async def _open(setting: str, text: str) -> list[trio.SocketListener]:
    try:
        address, port = parse_host_port(text)
    except ValueError as error:
        raise OperatorError(f"{setting}: {error}", "write ADDRESS:PORT or [ADDRESS]:PORT") from None
    try:
        return await trio.open_tcp_listeners(port, host=address)
    except OSError as error:
        if address == "::" and error.errno in _NO_SUCH_FAMILY:
            _log.info("no IPv6 here", setting=setting)
            return []
        raise OperatorError(
            f"{setting}: {address} port {port}: {error.strerror}",
            f"another process may have it; set {setting} to another port",
        ) from error
