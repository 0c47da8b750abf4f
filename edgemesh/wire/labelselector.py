"""Label selectors as ``kubectl -l`` takes them: equality and sets.

Grammar: ``k8s.io/apimachinery/pkg/labels`` (Parse): requirements joined by commas, each one of
``key=value``, ``key==value``, ``key!=value``, ``key in (a,b)``, ``key notin (a,b)``, ``key``,
``!key``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from edgemesh.model.errors import OperatorError


class Comparison(StrEnum):
    """How a label is compared; names are those of Kubernetes' matchExpressions."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


NEGATIVE = frozenset({Comparison.NOT_IN, Comparison.DOES_NOT_EXIST})


class Requirement(NamedTuple):
    """One condition on the label ``key``; an absent label satisfies NOT_IN."""

    key: str
    comparison: Comparison
    values: frozenset[str] = frozenset()


Selector = tuple[Requirement, ...]

_KEY = r"(?P<key>[A-Za-z0-9](?:[A-Za-z0-9./_-]*[A-Za-z0-9])?)"
_VALUE = r"[A-Za-z0-9._-]*"
_FORMS = (
    (re.compile(rf"{_KEY}\s*!=\s*(?P<values>{_VALUE})"), Comparison.NOT_IN),
    (re.compile(rf"{_KEY}\s*==?\s*(?P<values>{_VALUE})"), Comparison.IN),
    (re.compile(rf"{_KEY}\s+in\s*\((?P<values>[^()]+)\)"), Comparison.IN),
    (re.compile(rf"{_KEY}\s+notin\s*\((?P<values>[^()]+)\)"), Comparison.NOT_IN),
    (re.compile(rf"!\s*{_KEY}"), Comparison.DOES_NOT_EXIST),
    (re.compile(_KEY), Comparison.EXISTS),
)
# A comma inside parentheses separates values, not requirements.
_BETWEEN = re.compile(r",(?![^()]*\))")


def parse_selector(text: str) -> Selector:
    """Read a selector; the empty text selects everything.

    Raises:
        OperatorError: a requirement has none of the known forms.
    """
    if not text.strip():
        return ()
    return tuple(_requirement(part.strip(), text) for part in _BETWEEN.split(text))


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy every requirement."""
    return all(_satisfies(requirement, labels) for requirement in selector)


def _requirement(part: str, text: str) -> Requirement:
    for form, comparison in _FORMS:
        if found := form.fullmatch(part):
            values = found.groupdict().get("values")
            members = () if values is None else (value.strip() for value in values.split(","))
            return Requirement(found["key"], comparison, frozenset(members))
    raise OperatorError(
        f"label selector {text!r}: {part!r} is not key=value, key!=value, key in (a,b), "
        "key notin (a,b), key or !key"
    )


def _satisfies(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    if requirement.values:
        found = labels.get(requirement.key) in requirement.values
    else:
        found = requirement.key in labels
    return found is (requirement.comparison not in NEGATIVE)
