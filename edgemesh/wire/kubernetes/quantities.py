"""Numbers, names and patterns that the fields of policy objects hold."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgemesh.wire.quoting import quote
from edgemesh.wire.regex import regex_problem

_TCHARS = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

Percent = Annotated[int, Meta(ge=0, le=100, description="an integer from 0 to 100")]
PositiveCount = Annotated[
    int, Meta(ge=1, le=2**31 - 1, description="an integer from 1 to 2147483647")
]
# A table is made in one go, while no call is served.
RingSize = Annotated[int, Meta(ge=1, le=65536, description="an integer from 1 to 65536")]
Weight = Annotated[int, Meta(ge=0, le=1_000_000, description="an integer from 0 to 1000000")]
Rate = Annotated[float, Meta(gt=0, le=1e9, description="a number above 0")]
# RFC 9110 section 15: what a server may answer with in the end.
FinalStatus = Annotated[int, Meta(ge=200, le=599, description="a status from 200 to 599")]
ErrorStatus = Annotated[int, Meta(ge=400, le=599, description="a status from 400 to 599")]
GrpcStatus = Annotated[int, Meta(ge=1, le=16, description="a gRPC status from 1 to 16")]
# RFC 9110 section 5.1.
HeaderName = Annotated[
    str, Meta(pattern=rf"\A{_TCHARS}\Z", max_length=256, description="the name of a header")
]
# RFC 9110 section 5.5: no control characters, which would end the header early.
HeaderValue = Annotated[
    str,
    Meta(
        pattern=r"\A[^\x00-\x08\x0a-\x1f\x7f]*\Z",
        max_length=4096,
        description="a header's value: one line of at most 4096 characters",
    ),
]
# RFC 6265 section 4.1.1.
CookieName = Annotated[
    str, Meta(pattern=rf"\A{_TCHARS}\Z", max_length=256, description="the name of a cookie")
]
CookiePath = Annotated[
    str,
    Meta(
        pattern=r"\A[\x20-\x3a\x3c-\x7e]*\Z",
        max_length=1024,
        description="the path of a cookie, without ';'",
    ),
]
HttpPath = Annotated[
    str,
    Meta(
        pattern=r"\A/[^\x00-\x20\x7f?#]*\Z",
        max_length=1024,
        description="a path that begins with / and has no query",
    ),
]
Authority = Annotated[
    str,
    Meta(
        pattern=r"\A[-A-Za-z0-9._~%:\[\]]+\Z",
        max_length=255,
        description="a host, with a port or without",
    ),
]
# With "*." in front of it, any name below it.
HostPattern = Annotated[
    str,
    Meta(
        pattern=r"\A(\*|(\*\.)?[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)\Z",
        max_length=253,
        description="a host name, with *. in front of it for all below it",
    ),
]
Pattern = Annotated[
    str, Meta(max_length=4096, description="a regular expression of at most 4096 characters")
]
Text = Annotated[str, Meta(max_length=4096, description="a text of at most 4096 characters")]
Method = Annotated[
    str, Meta(pattern=rf"\A{_TCHARS}\Z", max_length=64, description="a method such as GET")
]
RedirectStatus = Literal[301, 302, 303, 307, 308]


def pattern_problem(pattern: str) -> str:
    """What is wrong with a regular expression, "" when it can be used."""
    problem = regex_problem(pattern)
    return f"the regular expression {quote(pattern)} {problem}" if problem else ""
