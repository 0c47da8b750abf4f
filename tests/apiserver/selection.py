"""Label and field selectors of lists and watches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from apiserver.answers import RefusedError, bad_request
from apiserver.resources import Body, ResourceType, Target
from edgemesh.model.errors import OperatorError
from edgemesh.wire.labelselector import parse_selector, selects

Wanted = Callable[[Body], bool]

_FIELDS = {
    "pods": ("spec.nodeName", "status.phase", "status.podIP", "spec.serviceAccountName"),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "events": (
        "involvedObject.kind",
        "involvedObject.name",
        "involvedObject.namespace",
        "involvedObject.uid",
        "reason",
        "type",
    ),
}
_TERM = re.compile(r"(?P<field>[A-Za-z.]+)(?P<sign>==|!=|=)(?P<value>[^,]*)")


def is_selective(query: Mapping[str, str]) -> bool:
    """Whether a request wants only some objects."""
    return bool(query.get("labelSelector") or query.get("fieldSelector"))


def wanted_by(type_: ResourceType, target: Target, query: Mapping[str, str]) -> Wanted:
    """Which objects a list or watch is about.

    Raises:
        RefusedError: a selector is malformed, or names a field that cannot be selected by.
    """
    labels = query.get("labelSelector", "")
    try:
        selector = parse_selector(labels)
    except OperatorError as error:
        raise bad_request(f"unable to parse requirement: {error}") from error
    terms = _terms(type_, query.get("fieldSelector", ""))

    def wanted(body: Body) -> bool:
        metadata = body["metadata"]
        return (
            (not target.namespace or metadata.get("namespace") == target.namespace)
            and selects(selector, metadata.get("labels") or {})
            and all((_value(body, field) == value) is equal for field, equal, value in terms)
        )

    return wanted


def _terms(type_: ResourceType, text: str) -> list[tuple[str, bool, str]]:
    if not text:
        return []
    found = []
    for part in text.split(","):
        term = _TERM.fullmatch(part)
        if term is None:
            raise _refused_field(type_, f"invalid selector: '{text}'; can't understand '{part}'")
        known = ("metadata.name", "metadata.namespace", *_FIELDS.get(type_.plural, ()))
        if term["field"] not in known:
            raise _refused_field(type_, f"field label not supported: {term['field']}")
        found.append((term["field"], term["sign"] != "!=", term["value"]))
    return found


def _refused_field(type_: ResourceType, words: str) -> RefusedError:
    return bad_request(f'Unable to find "{type_.title}" that match field selector: {words}')


def _value(body: Body, field: str) -> str:
    found: Any = body
    for part in field.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return "" if found is None else str(found)
