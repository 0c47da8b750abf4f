"""The conditions of a RouteMatch as predicates, each made once and asked for every request."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgemesh.model.routes import Comparison, NamedMatch, RouteMatch, TextMatch
from edgemesh.policy.routing.query import parameter
from edgemesh.policy.routing.request import Caller, RequestFacts, comes_from, header_value
from edgemesh.wire.regex import regex_matcher

OfText = Callable[[str], bool]
OfRequest = Callable[[RequestFacts, Caller | None], bool]


def path_condition(path: TextMatch | None) -> OfText | None:
    """Whether a path, as it was sent, is one that is meant; None when every path is."""
    if path is None:
        return None
    if path.comparison is Comparison.PREFIX:
        return _segment_prefix(path.value, ignore_case=path.ignore_case)
    return _text(path.comparison, path.value, ignore_case=path.ignore_case)


def other_conditions(match: RouteMatch) -> OfRequest | None:
    """Whether all but the path is as it is meant; None when there is no other condition.

    A condition that nobody can meet, such as an unusable regular expression, never holds, also
    when it is negated.
    """
    conditions = tuple(_conditions(match))
    if len(conditions) < 2:
        return conditions[0] if conditions else None

    def all_hold(request: RequestFacts, caller: Caller | None) -> bool:
        for holds in conditions:  # noqa: SIM110 - all() costs a generator for every request
            if not holds(request, caller):
                return False
        return True

    return all_hold


def _conditions(match: RouteMatch) -> Iterator[OfRequest]:
    """Make the conditions, those that cost least and exclude most first."""
    if match.hosts and "*" not in match.hosts:
        yield _host(match.hosts)
    if match.method is not None:
        yield _method(match.method)
    for named in match.headers:
        yield _header(named)
    for named in match.query:
        yield _query(named)
    if match.source_namespace or match.source_labels:
        yield _caller(match.source_namespace, match.source_labels)


def _host(hosts: tuple[str, ...]) -> OfRequest:
    exact = frozenset(host for host in hosts if not host.startswith("*."))
    # "*.example.org" is "a.b.example.org", too, but never "example.org".
    suffixes = tuple(host[1:] for host in hosts if host.startswith("*."))
    if not suffixes:
        return lambda request, _: request.host in exact

    def holds(request: RequestFacts, _: Caller | None) -> bool:
        host = request.host
        return host in exact or (host.endswith(suffixes) and not host.startswith("."))

    return holds


def _method(method: TextMatch) -> OfRequest:
    matches = _text(method.comparison, method.value, ignore_case=method.ignore_case)
    return lambda request, _: matches(request.method)


def _header(named: NamedMatch) -> OfRequest:
    matches, name = _value(named), named.name
    if name.startswith(":"):
        return lambda request, _: matches(header_value(request, name))
    return lambda request, _: matches(request.value(name))


def _query(named: NamedMatch) -> OfRequest:
    matches, name = _value(named), named.name
    return lambda request, _: matches(parameter(request.query, name))


def _caller(namespace: str, labels: tuple[tuple[str, str], ...]) -> OfRequest:
    return lambda _, caller: comes_from(caller, namespace, labels)


def _value(named: NamedMatch) -> Callable[[str | None], bool]:
    wanted = not named.negated
    if named.comparison is Comparison.PRESENT:
        return lambda value: (value is not None) is wanted
    if named.comparison is Comparison.ABSENT:
        return lambda value: (value is None) is wanted
    matches = _text(named.comparison, named.value, ignore_case=named.ignore_case)
    if matches is _never:
        return lambda _: False
    if wanted:
        return lambda value: value is not None and matches(value)
    return lambda value: value is None or not matches(value)


def _text(comparison: Comparison, value: str, *, ignore_case: bool) -> OfText:
    if comparison is Comparison.REGEX:
        return regex_matcher(value, ignore_case=ignore_case) or _never
    if comparison is Comparison.EXACT:
        compare: OfText = value.lower().__eq__ if ignore_case else value.__eq__
    elif comparison is Comparison.PRESENT:
        return _always
    elif comparison is Comparison.ABSENT:
        return _never
    else:
        prefix = value.lower() if ignore_case else value
        compare = lambda text: text.startswith(prefix)  # noqa: E731
    return (lambda text: compare(text.lower())) if ignore_case else compare


def _segment_prefix(prefix: str, *, ignore_case: bool) -> OfText:
    # "/app/" is "/app": it is "/app", "/app/" and "/app/x", but never "/application".
    whole = prefix.rstrip("/")
    whole = whole.lower() if ignore_case else whole
    beginning = whole + "/"
    if ignore_case:
        return lambda path: f"{path.lower()}/".startswith(beginning)
    return lambda path: f"{path}/".startswith(beginning)


def _always(_: str) -> bool:
    return True


def _never(_: str) -> bool:
    return False
