"""The admin server: accepts clients, a bounded number, and ends with grace."""

from __future__ import annotations

import ipaddress

import trio

from edgemesh.model.errors import OperatorError
from edgemesh.model.observe_settings import AdminSettings
from edgemesh.model.settings import HttpSettings
from edgemesh.observe.admin.connection import Connection
from edgemesh.observe.admin.pages import Pages
from edgemesh.wire.host_port import parse_host_port
from edgemesh.wire.http1.reader import HeadReader


async def serve_admin(
    settings: AdminSettings,
    pages: Pages,
    *,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``pages`` until cancelled.

    Args:
        settings: where to listen, and limits.
        pages: by their paths.
        task_status: started with the address and port that are listened on.

    Raises:
        OperatorError: the address is malformed, not there or taken.

    Ownership: opens and closes the listener and all connections.

    Cancellation: answers that have begun may take `AdminSettings.drain_seconds` more.
    """
    address, port = _listen_address(settings)
    try:
        listeners = await trio.open_tcp_listeners(port, host=address)
    except OSError as error:
        raise OperatorError(
            f"admin.listen: {address} port {port}: {error.strerror}",
            "another agent may be running here; set admin.listen to another port, "
            "or admin.enabled to false",
        ) from error
    server = _Server(settings, pages, only_local=ipaddress.ip_address(address).is_loopback)
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(trio.serve_listeners, server.serve, listeners)
            task_status.started(listeners[0].socket.getsockname()[:2])
            await trio.sleep_forever()
        finally:
            server.hurry()


class _Server:
    """All connections.

    Attributes:
        _open: with what cancels each, the oldest first.
    """

    def __init__(self, settings: AdminSettings, pages: Pages, *, only_local: bool) -> None:
        self._settings = settings
        self._pages = pages
        self._only_local = only_local
        limit = settings.max_head_bytes
        self._reader = HeadReader(HttpSettings(max_head_bytes=limit, max_request_line_bytes=limit))
        self._open: dict[Connection, trio.CancelScope] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one client, or turn it away when all others wait for answers."""
        if len(self._open) >= self._settings.max_connections and not self._make_room():
            await trio.aclose_forcefully(stream)
            return
        connection = Connection(
            stream, self._reader, self._pages, self._settings, only_local=self._only_local
        )
        with trio.CancelScope() as scope:
            self._open[connection] = scope
            try:
                await connection.run()
            finally:
                self._open.pop(connection, None)
                await trio.aclose_forcefully(stream)

    def hurry(self) -> None:
        """Bound what answers that have begun may take."""
        deadline = trio.current_time() + self._settings.drain_seconds
        for connection in self._open:
            connection.hurry(deadline)

    def _make_room(self) -> bool:
        for connection, scope in self._open.items():
            if not connection.is_answering:
                scope.cancel()
                del self._open[connection]
                return True
        return False


def _listen_address(settings: AdminSettings) -> tuple[str, int]:
    try:
        return parse_host_port(settings.listen)
    except ValueError as error:
        raise OperatorError(
            f"admin.listen: {error}", "write ADDRESS:PORT or [ADDRESS]:PORT"
        ) from None
