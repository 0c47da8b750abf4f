"""Constrained field types of Kubernetes objects, and the error that names field and value.

The rules are those of Kubernetes' own validation: RFC 1035 and RFC 1123 labels, RFC 1123
subdomains, IANA service names for container ports, and ports from 1 to 65535.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

Port = Annotated[int, Meta(ge=1, le=65535, description="an integer from 1 to 65535")]
PortOrUnset = Annotated[int, Meta(ge=0, le=65535, description="an integer from 0 to 65535")]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1, description="an integer from 0 to 2147483647")]
AffinitySeconds = Annotated[
    int, Meta(ge=1, le=86400, description="an integer from 1 to 86400, in seconds")
]
Protocol = Literal["TCP", "UDP", "SCTP"]
IpFamily = Literal["IPv4", "IPv6"]

DnsLabel = Annotated[
    str,
    Meta(
        pattern=rf"\A{_LABEL}\Z",
        max_length=63,
        description="a name of at most 63 lower-case letters, digits and '-' (RFC 1123 label)",
    ),
]
LabelOrEmpty = Annotated[
    str,
    Meta(
        pattern=rf"\A({_LABEL})?\Z",
        max_length=63,
        description="a name of at most 63 lower-case letters, digits and '-' (RFC 1123 label)",
    ),
]
ServiceName = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z]([-a-z0-9]*[a-z0-9])?\Z",
        max_length=63,
        description="a name of at most 63 lower-case letters, digits and '-', a letter first"
        " (RFC 1035 label)",
    ),
]
DnsSubdomain = Annotated[
    str,
    Meta(
        pattern=rf"\A{_LABEL}(\.{_LABEL})*\Z",
        max_length=253,
        description="a name of at most 253 lower-case letters, digits, '-' and '.'"
        " (RFC 1123 subdomain)",
    ),
]
PortName = Annotated[
    str,
    Meta(
        pattern=r"\A(?!.*--)(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z",
        max_length=15,
        description="a port name of at most 15 lower-case letters, digits and '-' (RFC 6335)",
    ),
]
PortNameOrEmpty = Annotated[
    str,
    Meta(
        pattern=r"\A((?!.*--)(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?)?\Z",
        max_length=15,
        description="a port name of at most 15 lower-case letters, digits and '-' (RFC 6335)",
    ),
]


class FieldError(ValueError):
    """One field of an object is not what it has to be.

    Args:
        field: its path, ``spec.ports[0].port``.
        problem: what was expected and what stands there.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
