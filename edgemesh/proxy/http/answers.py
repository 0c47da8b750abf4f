"""Answers that edgemesh gives itself: refusals, redirects, direct responses.

A refusal tells why in ``x-edgemesh-reason``; with a quota also when to come again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgemesh.model.flows import REASON_HEADER, Refusal
from edgemesh.model.routes import DirectResponse

_STATUSES = {
    Refusal.MALFORMED: 400,
    Refusal.NO_ROUTE: 404,
    Refusal.NO_BACKEND: 500,
    Refusal.QUOTA: 429,
    Refusal.SERVER_QUOTA: 429,
    Refusal.ENDPOINT_FAILED: 502,
    Refusal.TIMEOUT: 504,
}
_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whatever version of HTTP carries it.

    Args:
        status: three digits.
        headers: names in lower case, without those that frame the body.
        body: text for people, "" for none.
        refusal: None for an answer that a route asked for.
        close: the client's connection is of no use after it.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    refusal: Refusal | None = None
    close: bool = False


def refuse(refusal: Refusal, detail: str = "", wait_seconds: float = 0.0) -> Answer:
    """The answer to a request that is not forwarded, or whose endpoints have failed.

    Args:
        refusal: why.
        detail: more about it, for people.
        wait_seconds: until it may be tried again; 0 when nobody knows.
    """
    headers = [(REASON_HEADER, str(refusal))]
    if wait_seconds > 0:
        headers.append(("retry-after", str(max(1, math.ceil(wait_seconds)))))
    headers.append(("content-type", "text/plain; charset=utf-8"))
    body = f"edgemesh: {refusal}{f': {detail}' if detail else ''}\n"
    return Answer(_STATUSES.get(refusal, _UNAVAILABLE), tuple(headers), body, refusal)


def malformed(status: int, detail: str) -> Answer:
    """The answer to bytes that are no valid request; the connection ends with it."""
    headers = ((REASON_HEADER, str(Refusal.MALFORMED)), ("content-type", "text/plain"))
    return Answer(
        status, headers, f"edgemesh: malformed: {detail}\n", Refusal.MALFORMED, close=True
    )


def redirect(status: int, location: str) -> Answer:
    """The answer that sends a client elsewhere."""
    return Answer(status, (("location", location),))


def direct(response: DirectResponse) -> Answer:
    """The answer that a route gives itself."""
    headers = (("content-type", "text/plain; charset=utf-8"),) if response.body else ()
    return Answer(response.status, headers, response.body)
