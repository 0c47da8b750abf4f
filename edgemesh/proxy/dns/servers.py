"""Which servers are asked, and on which addresses we answer."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

import trio

from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import DnsSettings
from edgemesh.proxy.dns.upstream import Server
from edgemesh.wire.host_port import parse_host_port
from edgemesh.wire.resolv_conf import parse_nameservers

_DNS_PORT: Final = 53


def listen_addresses(settings: DnsSettings) -> tuple[Server, ...]:
    """The addresses of ``dns.listen``.

    Raises:
        OperatorError: one is malformed, or stands for all addresses: an answer would leave from
            another address than was asked.
    """
    addresses = tuple(_parse("dns.listen", text) for text in settings.listen)
    for address, port in addresses:
        if ipaddress.ip_address(address).is_unspecified:
            raise OperatorError(
                f"dns.listen: {address} port {port} is no single address",
                "name each address that pods ask",
            )
    return addresses


class UpstreamServers:
    """The servers for names outside the cluster; `follow` keeps them those of resolv.conf.

    Our own addresses are never among them, whatever the settings or resolv.conf say: on a node
    whose resolv.conf names the agent, questions would go round.

    Attributes:
        current: the servers now, empty when there are none.
    """

    def __init__(self, settings: DnsSettings) -> None:
        """Start with the configured servers.

        Raises:
            OperatorError: an address in the settings is malformed.
        """
        self._settings = settings
        self._own = frozenset(listen_addresses(settings))
        self.current = self._others(_parse("dns.upstreams", text) for text in settings.upstreams)

    async def follow(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Read resolv.conf, then again and again, for an edge node changes its uplink.

        Started once it has been read. Returns at once when servers are configured.
        """
        if self._settings.upstreams:
            task_status.started()
            return
        await self._read()
        task_status.started()
        while True:
            await trio.sleep(self._settings.resolv_conf_check_seconds)
            await self._read()

    async def _read(self) -> None:
        try:
            data = await trio.Path(self._settings.resolv_conf).read_bytes()
        except OSError:
            # No file is no server, as resolv.conf(5) has it but for the local machine.
            data = b""
        found = parse_nameservers(data.decode("utf-8", "replace"))
        self.current = self._others((address, _DNS_PORT) for address in found)

    def _others(self, servers: Iterable[Server]) -> tuple[Server, ...]:
        return tuple(dict.fromkeys(server for server in servers if server not in self._own))


def _parse(key: str, text: str) -> Server:
    try:
        return parse_host_port(text, _DNS_PORT)
    except ValueError as error:
        raise OperatorError(f"{key}: {error}", "write ADDRESS:PORT or [ADDRESS]:PORT") from None
