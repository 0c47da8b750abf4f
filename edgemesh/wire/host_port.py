"""``address:port``, as configurations, reports and people write it."""

from __future__ import annotations

import ipaddress


def joined(address: str, port: int) -> str:
    """``address:port``, with brackets around IPv6 (RFC 3986 section 3.2.2)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def parse_host_port(text: str, default_port: int = 0) -> tuple[str, int]:
    """Read ``192.0.2.1:53``, ``[2001:db8::1]:53`` or, with a default port, an address alone.

    Returns:
        The address as ``getsockname()`` spells it, with its zone if it has one, and the port.

    Raises:
        ValueError: it is none of these; the message quotes the text.
    """
    address, port_text = _split(text)
    if not port_text and default_port:
        port_text = str(default_port)
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f"{text!r} does not begin with an IP address") from None
    if not (port_text.isascii() and port_text.isdecimal() and 0 < int(port_text) < 65536):
        raise ValueError(f"{text!r} does not end with a port from 1 to 65535")
    return str(parsed), int(port_text)


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        address, _, port = text[1:].partition("]:")
        return (address, port) if port else (address.removesuffix("]"), "")
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, port
    return text, ""
