"""REST requests at the cloud: ``/NODE/NAMESPACE/PATH`` and the rule whose source path leads it on.

Path form and target are KubeEdge's (cloud/pkg/router/listener/http.go, provider/servicebus); two of
its habits are not kept. A source path matches whole segments, so ``/source`` leads ``/source/a`` on
and not ``/sourceXYZ``; and of several rules the longest path wins, not the first that was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from edgemesh.model.router import RouterRule, RuleEndpointType


class RestTarget(NamedTuple):
    """A request's first line, taken apart.

    Args:
        node: the first segment: the edge node that it is for.
        namespace: the second: whose rules are asked.
        path: the rest, with its leading slash and without the query; "" for none.
        query: with its question mark; "" for none.
    """

    node: str
    namespace: str
    path: str
    query: str


def rest_target(target: str) -> RestTarget | None:
    """Take a request target apart; None when it has not the form."""
    path, mark, query = target.partition("?")
    if not path.startswith("/"):
        return None
    node, _, rest = path[1:].partition("/")
    namespace, slash, rest = rest.partition("/")
    if not (node and namespace):
        return None
    return RestTarget(node, namespace, slash + rest, mark + query)


class RestRules:
    """Rules with a rest source, found by namespace and path; never changed."""

    def __init__(self, rules: Iterable[RouterRule]) -> None:
        """Index those that are in use."""
        found: dict[str, list[tuple[tuple[str, ...], RouterRule]]] = {}
        for rule in rules:
            if rule.in_use and rule.source.type is RuleEndpointType.REST:
                pattern = _segments(rule.source_resource["path"])
                found.setdefault(rule.namespace, []).append((pattern, rule))
        self._by_namespace: Mapping[str, list[tuple[tuple[str, ...], RouterRule]]] = found
        for candidates in found.values():
            # Literal segments before parameters, long before short, and names settle the rest.
            candidates.sort(key=lambda each: (_rank(each[0]), each[1].name))

    def find(self, target: RestTarget) -> tuple[RouterRule, str] | None:
        """The rule that a request falls under, and the path at the rule's target.

        Returns:
            The rule and, with its slash, what follows the source's path; None for no rule.
        """
        segments = _segments(target.path)
        for pattern, rule in self._by_namespace.get(target.namespace, ()):
            if _matches(pattern, segments):
                return rule, "".join(f"/{segment}" for segment in segments[len(pattern) :])
        return None


def target_path(rule: RouterRule, rest: str, query: str) -> str:
    """Where a request goes at its target: the rule's own path, what follows, and the query."""
    own = rule.target_resource.get("path", "")
    return f"/{own.strip('/')}{rest}{query}" if own.strip("/") else f"{rest or '/'}{query}"


def _segments(path: str) -> tuple[str, ...]:
    stripped = path.removeprefix("/")
    return tuple(stripped.split("/")) if stripped else ()


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def _rank(pattern: tuple[str, ...]) -> tuple[int, tuple[bool, ...]]:
    return -len(pattern), tuple(map(_is_parameter, pattern))


def _matches(pattern: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    if len(segments) < len(pattern):
        return False
    return all(
        bool(segment) if _is_parameter(own) else own == segment
        for own, segment in zip(pattern, segments, strict=False)
    )
