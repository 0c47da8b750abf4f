"""Conditions of a VirtualService's rules.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPMatchRequest
"""

from __future__ import annotations

from dataclasses import replace

from edgemesh.model.routes import Comparison, NamedMatch, RouteMatch, TextMatch
from edgemesh.model.services import ServicePort
from edgemesh.wire.kubernetes.istio.virtual_service import (
    MESH,
    ConnectionMatch,
    RequestMatch,
    StringMatch,
)
from edgemesh.wire.regex import regex_matcher

# As `edgemesh.policy.routing` names the host among headers.
_AUTHORITY = ":authority"
# Only cleartext requests are routed one by one.
_SCHEME = "http"


def is_possible(match: RequestMatch | ConnectionMatch, port: ServicePort) -> bool:
    """Whether a call of this port can meet those conditions that need not be asked each time."""
    if match.port not in (None, port.port) or (match.gateways and MESH not in match.gateways):
        return False
    scheme = match.scheme if isinstance(match, RequestMatch) else None
    return scheme is None or _holds_for_scheme(scheme)


def _holds_for_scheme(scheme: StringMatch) -> bool:
    if scheme.regex is not None:
        matches = regex_matcher(scheme.regex, ignore_case=False)
        return matches is not None and matches(_SCHEME)
    if scheme.prefix is not None:
        return _SCHEME.startswith(scheme.prefix)
    return scheme.exact in (None, _SCHEME)


def with_match(scope: RouteMatch, match: RequestMatch) -> RouteMatch:
    """The scope with the conditions of a match."""
    ignore_case = match.ignore_uri_case
    return replace(
        scope,
        path=_text(match.uri, prefix=Comparison.TEXT_PREFIX, ignore_case=ignore_case),
        method=_text(match.method),
        headers=(
            *([_authority(match.authority)] if match.authority else []),
            *(_named(name.lower(), value) for name, value in match.headers.items()),
            *(_without(name.lower(), value) for name, value in match.without_headers.items()),
        ),
        query=tuple(_named(name, value) for name, value in match.query_params.items()),
        source_labels=tuple(sorted(match.source_labels.items())),
        source_namespace=match.source_namespace,
    )


def split_authority(text: str) -> tuple[str, int]:
    """Host and port of an authority; 0 for none."""
    host, colon, port = text.rpartition(":")
    if colon and not host.endswith(":") and port.isdecimal() and int(port) < 65536:
        return host, int(port)
    return text, 0


def _comparison(match: StringMatch, prefix: Comparison) -> tuple[Comparison, str]:
    if match.exact is not None:
        return Comparison.EXACT, match.exact
    if match.prefix is not None:
        return prefix, match.prefix
    if match.regex is not None:
        return Comparison.REGEX, match.regex
    return Comparison.PRESENT, ""


def _text(
    match: StringMatch | None,
    *,
    prefix: Comparison = Comparison.PREFIX,
    ignore_case: bool = False,
) -> TextMatch | None:
    if match is None:
        return None
    comparison, value = _comparison(match, prefix)
    return None if comparison is Comparison.PRESENT else TextMatch(comparison, value, ignore_case)


def _named(name: str, match: StringMatch) -> NamedMatch:
    return NamedMatch(name, *_comparison(match, Comparison.PREFIX))


def _without(name: str, match: StringMatch) -> NamedMatch:
    """A header that is not there, or not with this value."""
    condition = _named(name, match)
    if condition.comparison is Comparison.PRESENT:
        return NamedMatch(name, Comparison.ABSENT)
    return replace(condition, negated=True)


def _authority(match: StringMatch) -> NamedMatch:
    """The host of a request is compared in lower case and without its port."""
    condition = _named(_AUTHORITY, match)
    if condition.comparison is Comparison.EXACT:
        return replace(condition, value=split_authority(condition.value.lower())[0])
    return replace(condition, ignore_case=True)
