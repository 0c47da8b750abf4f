"""Request targets as a route changes them, and where a redirect leads."""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import quote

from edgemesh.model.routes import Comparison, Rewrite, Route, TextMatch
from edgemesh.policy.routing.request import RequestFacts
from edgemesh.wire.regex import replace_matches

_WELL_KNOWN_PORTS: Final = {"http": 80, "https": 443}
_ANY_PATH: Final = TextMatch(Comparison.PREFIX, "/")
# Everything that may stand in a target (RFC 3986 section 3.3 and 3.4), escapes of it included.
_SAFE: Final = "/%?:@!$&'()*+,;=-._~"


def rewritten(route: Route, request: RequestFacts) -> tuple[str, str | None]:
    """The target and the host of a request after the route's rewrite.

    Returns:
        Path and query; and the new host, None when it stays.
    """
    rewrite = route.rewrite
    if rewrite is None:
        return _target(request.path, request.query), None
    path = _rewritten_path(rewrite, route.match.path or _ANY_PATH, request.path)
    return _target(path, request.query), rewrite.host or None


def redirect_location(route: Route, request: RequestFacts, scheme: str, port: int) -> str:
    """Where the route's redirect sends the client: an absolute URL with the query of the request.

    The port is the redirect's own, else the well-known one of the scheme it changes to, else the
    one that was called; it is left out where the scheme implies it.

    Args:
        route: one that redirects.
        request: see there.
        scheme: ``http`` or ``https``, as the client called.
        port: as the client called.

    Source: Gateway API v1, HTTPRequestRedirectFilter.
    """
    redirect, path = route.redirect, request.path
    assert redirect is not None
    if redirect.path is not None:
        path = _rewritten_path(redirect.path, route.match.path or _ANY_PATH, path)
    new_scheme = redirect.scheme or scheme
    new_port = redirect.port or (_WELL_KNOWN_PORTS.get(redirect.scheme) or port)
    shown_port = "" if new_port == _WELL_KNOWN_PORTS.get(new_scheme) else f":{new_port}"
    host = _in_brackets(redirect.host or request.host)
    return f"{new_scheme}://{host}{shown_port}{_target(path, request.query)}"


def _rewritten_path(rewrite: Rewrite, matched: TextMatch, path: str) -> str:
    if rewrite.full_path is not None:
        return _path_text(rewrite.full_path)
    if rewrite.prefix is not None:
        return _with_prefix(_path_text(rewrite.prefix), matched, path)
    if rewrite.regex:
        changed = replace_matches(rewrite.regex, _in_target(rewrite.substitution), path)
        return changed if changed.startswith("/") else f"/{changed}"
    return path


def _with_prefix(replacement: str, matched: TextMatch, path: str) -> str:
    """Put another prefix before what follows the matched one.

    Istio's prefixes are plain text, and a path that was matched otherwise is replaced as a whole;
    the Gateway API's end with a segment, and one slash is between the new one and the rest.
    """
    if matched.comparison is Comparison.TEXT_PREFIX:
        return replacement + path[len(matched.value) :]
    if matched.comparison is not Comparison.PREFIX:
        return replacement
    rest = path[len(matched.value.rstrip("/")) :]
    return (replacement.rstrip("/") + rest) or "/"


def _target(path: str, query: str) -> str:
    if not query:
        return path
    return f"{path}&{query}" if "?" in path else f"{path}?{query}"


def _path_text(text: str) -> str:
    shown = _in_target(text)
    return shown if shown.startswith("/") else f"/{shown}"


@lru_cache(maxsize=4096)
def _in_target(text: str) -> str:
    """What an operator wrote, with everything escaped that cannot stand in a target."""
    return quote(text, safe=_SAFE + "\\")


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
