"""The request with which a node opens its WebSocket: who it says it is, and whether it may.

As KubeEdge's edges send it (v1.23), but stricter than CloudCore, which lets in whoever has a
certificate, or none of whose frames it will ever answer: what we refuse is told at once.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

from edgemesh.bus.cloudhub.refusals import Reason
from edgemesh.wire.http1.heads import Framing, RequestHead

VERSION_HEADER = "edgemesh-version"
VERSION = "1"

_USE = "msg"
# RFC 6455 section 4.1.
_WEBSOCKET_VERSION = "13"


class Caller(NamedTuple):
    """A node that asks to be connected.

    Args:
        node: by its certificate and its header.
        edgemesh: whether it is one of ours; else it is KubeEdge's.
        address: where it is seen from.
        certificate: DER.
    """

    node: str
    edgemesh: bool
    address: str
    certificate: bytes


class UpgradeRefused(Exception):  # noqa: N818 - a fact about the peer
    """A request that is not granted; the text is for people.

    Args:
        reason: for counts.
        status: of the HTTP answer.
        problem: what is wrong.
    """

    def __init__(self, reason: Reason, status: HTTPStatus, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason
        self.status = status


def read_upgrade(head: RequestHead, certificate: bytes, node: str, address: str) -> Caller:
    """Read the head of the request.

    Args:
        head: as it came.
        certificate: of the TLS connection, DER.
        node: that it is for.
        address: where it came from.

    Raises:
        UpgradeRefused: it is no upgrade to WebSocket, or the node is not the certificate's.
    """
    if head.method != "GET" or head.framing is not Framing.NONE:
        raise _malformed("only GET without a body is answered")
    if head.upgrade.lower() != "websocket" or head.value("sec-websocket-key") is None:
        raise _malformed("this port speaks WebSocket")
    if head.value("sec-websocket-version") != _WEBSOCKET_VERSION:
        raise _malformed(f"header Sec-WebSocket-Version is not {_WEBSOCKET_VERSION!r}")
    if head.value("origin") is not None:
        # Browsers send it. No page of the internet has business here (RFC 6455 section 10.2).
        raise UpgradeRefused(
            Reason.FOREIGN_ORIGIN, HTTPStatus.FORBIDDEN, "requests of web pages are not served"
        )
    if head.value("connectionuse") != _USE:
        raise _malformed(f"header ConnectionUse is not {_USE!r}")
    claimed = head.value("node_id")
    if not claimed:
        raise _malformed("there is no header node_id")
    if claimed != node:
        raise UpgradeRefused(
            Reason.OTHER_NODE,
            HTTPStatus.FORBIDDEN,
            f"node_id is {claimed[:253]!r}, the certificate is that of node {node!r}",
        )
    return Caller(node, head.value(VERSION_HEADER) is not None, address, certificate)


def _malformed(problem: str) -> UpgradeRefused:
    return UpgradeRefused(Reason.MALFORMED_UPGRADE, HTTPStatus.BAD_REQUEST, problem)
