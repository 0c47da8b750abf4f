"""What a Service port declares about its application protocol."""

from __future__ import annotations

_KNOWN = {
    "http": "http",
    "grpc-web": "http",
    "ws": "http",
    "http2": "http2",
    "h2c": "http2",
    "grpc": "grpc",
    "https": "tls",
    "wss": "tls",
    "tls": "tls",
    "tcp": "tcp",
    "mongo": "tcp",
    "mysql": "tcp",
    "redis": "tcp",
    "udp": "udp",
}
_KUBERNETES_PREFIX = "kubernetes.io/"


def declared_protocol(app_protocol: str, port_name: str) -> str:
    """The protocol by ``appProtocol``, else by the port name's prefix as Istio reads it.

    An ``appProtocol`` that is not known here says at least that it is none of those that are:
    the bytes are opaque, and a server that speaks first need not wait for a peek.

    Args:
        app_protocol: an IANA service name or one under ``kubernetes.io/`` (KEP-3726); "" when
            not declared.
        port_name: such as ``http-0``; "" when the port has none.

    Returns:
        ``http``, ``http2``, ``grpc``, ``tls``, ``tcp`` or ``udp``; "" when nothing is declared.
    """
    if app_protocol:
        return _KNOWN.get(app_protocol.lower().removeprefix(_KUBERNETES_PREFIX), "tcp")
    name = port_name.lower()
    if name == "grpc-web" or name.startswith("grpc-web-"):
        return "http"
    return _KNOWN.get(name.partition("-")[0], "")
