"""Whose calls are intercepted: Namespaces and Pods may say so for the calls that Pods make.

What a Pod says counts for more than what its Namespace says, its label for more than its
annotation. Where neither says anything, the agent's setting decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from edgemesh.wire.quoting import quote

INTERCEPT: Final = "edgemesh.io/intercept"
_WORDS: Final = {"enabled": True, "disabled": False}


class Choice(NamedTuple):
    """What an object says about the calls of Pods.

    Args:
        intercepted: whether they are to be intercepted.
        field: ``label`` or ``annotation``, where it says so.
    """

    intercepted: bool
    field: str


class Said(NamedTuple):
    """What was read of an object.

    Args:
        choice: None where it says nothing that is understood.
        problems: words that are not understood and were passed over.
    """

    choice: Choice | None = None
    problems: tuple[str, ...] = ()


SAYS_NOTHING: Final = Said()


def pod_says(
    labels: Mapping[str, str], annotations: Mapping[str, str], *, host_network: bool
) -> Said:
    """What a Pod says: its label first, then its annotation.

    Args:
        labels: of the Pod.
        annotations: likewise.
        host_network: whether it is on the node's own network, where nobody tells it from others.
    """
    said = _read({"label": labels, "annotation": annotations})
    if said.choice is None or not host_network:
        return said
    where = f"metadata.{said.choice.field}s[{quote(INTERCEPT)}]"
    return Said(None, (*said.problems, f"{where}: without effect, for the Pod has hostNetwork"))


def namespace_says(labels: Mapping[str, str]) -> Said:
    """What a Namespace says for its Pods; only its label counts."""
    return _read({"label": labels})


def why_left_alone(
    pod: Choice | None, namespace: str, of_namespace: Choice | None, *, by_default: bool
) -> str:
    """Why calls of a Pod are not intercepted; "" when they are.

    Args:
        pod: what the Pod says.
        namespace: whose it is.
        of_namespace: what that says.
        by_default: whether calls are intercepted where nobody says anything.
    """
    if pod is not None:
        return "" if pod.intercepted else f"{pod.field} {INTERCEPT} of the Pod is disabled"
    if of_namespace is not None:
        if of_namespace.intercepted:
            return ""
        return f"{of_namespace.field} {INTERCEPT} of namespace {namespace} is disabled"
    return "" if by_default else "proxy.intercept_default is disabled"


def _read(places: Mapping[str, Mapping[str, str]]) -> Said:
    problems = tuple(_problems(places))
    for field, pairs in places.items():
        intercepted = _WORDS.get(pairs.get(INTERCEPT, ""))
        if intercepted is not None:
            return Said(Choice(intercepted, field), problems)
    return Said(None, problems)


def _problems(places: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for field, pairs in places.items():
        word = pairs.get(INTERCEPT)
        if word is not None and word not in _WORDS:
            where = f"metadata.{field}s[{quote(INTERCEPT)}]"
            yield f"{where}: expected {' or '.join(_WORDS)}, got {quote(word)}"
